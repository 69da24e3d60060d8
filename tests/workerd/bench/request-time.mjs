/** What one request costs that needs no KV, or next to none: made again and again within the runtime. */
import { alternating } from "./alternating.mjs";

const LIMITS = { times: 9, milliseconds: Infinity };

/**
 * @param {{ subject: Subject, name: string, method: string, path: string, headers: object, times: number }[]} requests
 *   with how often each is made in one measurement
 * @returns microseconds a request, by name
 */
export async function requestTimes(requests) {
  const measure = ({ subject, method, path, headers, times }) =>
    subject.ask(method, path, { ...headers, times: String(times) });
  // What runs often is compiled better, after a while.
  for (const asked of requests) await measure(asked);
  const measured = await alternating(
    Object.fromEntries(requests.map((asked) => [asked.name, () => measure(asked)])),
    LIMITS,
  );
  return requests.map(({ name, times }) => ({ name, microseconds: (1_000 * measured[name].took) / times }));
}
