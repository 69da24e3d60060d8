/** What one request costs that needs no KV, or next to none: made again and again within the runtime. */
import { alternating } from "./alternating.mjs";

const LIMITS = { times: 9, milliseconds: Infinity };

/**
 * @param {{ subject: Subject, name: string, method: string, path: string, headers: object }[]} requests
 * @param {number} times how often each is made in one measurement
 * @returns microseconds a request, by name
 */
export async function requestTimes(requests, times) {
  const measure = ({ subject, method, path, headers }) =>
    subject.ask(method, path, { ...headers, times: String(times) });
  // What runs often is compiled better, after a while.
  for (const asked of requests) await measure(asked);
  const measured = await alternating(
    Object.fromEntries(requests.map((asked) => [asked.name, () => measure(asked)])),
    LIMITS,
  );
  return Object.entries(measured).map(([name, { took }]) => ({ name, microseconds: (1_000 * took) / times }));
}
