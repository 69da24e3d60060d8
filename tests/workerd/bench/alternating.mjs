/** A measurement is repeated until it was made this often, or until all of them have taken this long. */
const USUALLY = { times: 5, milliseconds: 4_000 };

/**
 * Measures by turns, so that whatever else the machine does, it does to each.
 *
 * @param {Record<string, () => Promise<{ took: number, operations: object }>>} measurements
 * @param {{ times: number, milliseconds: number }} [limits]
 * @returns the last of each by its name, with the median of the times
 */
export async function alternating(measurements, limits = USUALLY) {
  const results = Object.fromEntries(Object.keys(measurements).map((name) => [name, []]));
  const start = performance.now();
  for (let time = 0; time < limits.times && (time === 0 || performance.now() - start < limits.milliseconds); time += 1) {
    for (const [name, measure] of Object.entries(measurements)) results[name].push(await measure());
  }
  return Object.fromEntries(Object.entries(results).map(([name, all]) => [name, summary(name, all)]));
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2;
}

function summary(name, results) {
  const last = results.at(-1);
  const operations = total(last.operations);
  const took = median(results.map(({ took }) => took));
  return { ...last, operations, kinds: last.operations, took, times: results.length };
}

function total(counts) {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}
