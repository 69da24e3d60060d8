/** What the migrations of the gazetteer took, beside the least that they could have taken. */
import { BY_COUNTRY, BY_NAME, INDEX, NORMALISE } from "./places.mjs";

/** Keys in a page of a list, values in one read, and operations in one request by default. */
const [PAGE, BULK, BUDGET] = [1_000, 100, 900];

const LEGEND = `
least     a list for 1,000 keys, a read for 100 values, a write and a delete for each entry. A re-key reads one by one, to
          move values byte for byte; by value it reads 100 at a time before, to find where they go.
ratio     of the operations to the least.
at most   with ${BUDGET} operations more for each killed request: what it did after its last checkpoint is not counted.
requests  none for a migration that was done with what another one left of its request.
in all    the operations of all requests that were answered, and the seconds with the pauses of \`Retry-After\`.`;

export function printNumbers({ requests, kills, operations, applied }, places, seconds) {
  const countries = new Set(places.map(({ country }) => country)).size;
  console.log(`${places.length} places in ${countries} countries\n`);
  printRow("", "requests", "operations", "least", "ratio", "at most", "seconds");
  for (const { id, durationMs, operations } of applied) {
    const least = leastFor(id, places.length, countries);
    const atMost = operations + BUDGET * kills.filter((kill) => kill.id === id).length;
    const ratios = [operations, atMost].map((number) => (number / least).toFixed(3));
    printRow(id, requests[id] ?? 0, operations, least, ...ratios, Math.floor(durationMs / 1_000));
  }
  const total = Object.values(requests).reduce((sum, number) => sum + number);
  printRow("in all", total, operations, "", "", "", Math.floor(seconds));
  console.log(LEGEND);
  console.log(`\nKilled in the middle of ${kills.length} requests: ${kills.map(({ id, phase }) => `${id} (${phase})`).join(", ")}`);
}

function printRow(title, ...cells) {
  const widths = [8, 10, 8, 6, 7, 8];
  console.log([title.padEnd(19), ...cells.map((cell, index) => String(cell).padStart(widths[index]))].join(" "));
}

function leastFor(id, places, countries) {
  const [lists, reads] = [Math.ceil(places / PAGE), Math.ceil(places / BULK)];
  const least = {
    [NORMALISE]: lists + reads + places,
    [BY_COUNTRY]: lists + 3 * places,
    [INDEX]: lists + reads + countries,
    [BY_NAME]: lists + reads + 3 * places,
  };
  return least[id];
}
