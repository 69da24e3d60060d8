import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";

/** In seconds since 1970: an expiration so far ahead that no run comes near it. */
export const TOMORROW = Math.floor(Date.now() / 1000) + 86_400;

/**
 * Customers as a service keeps them, some with metadata, some with an expiration.
 *
 * @returns {import("./namespace.mjs").Entry[]} in the order of their keys
 */
export function customers(number) {
  return Array.from({ length: number }, (_, index) => ({
    key: `customer_${String(index).padStart(5, "0")}`,
    value: JSON.stringify({ credit: index, name: `Customer ${index}` }),
    ...(index % 3 === 0 && { metadata: { plan: "pro", index } }),
    ...(index % 5 === 0 && { expiration: TOMORROW }),
  }));
}

/** The same entries after the scenario `seen` has run over each, as often as `times` says. */
export function seen(entries, times = () => 1) {
  return entries.map((entry, index) => ({
    ...entry,
    value: JSON.stringify({ ...JSON.parse(entry.value), seen: times(index) }),
  }));
}

/** How often the scenario `seen` was made to each of these entries. */
export function timesSeen(entries) {
  return entries.map(({ value }) => JSON.parse(value).seen ?? 0);
}

/** All that a dump holds beside the markers. */
export function withoutMarkers(dump) {
  return dump.filter(({ key }) => !key.startsWith("migration_"));
}

/** That these are those entries. Of thousands it shows the first that differs, which is quick and can be read. */
export function assertEntries(actual, expected, message = "it differs") {
  const different = expected.findIndex((entry, index) => !isDeepStrictEqual(actual[index], entry));
  if (different >= 0) assert.deepEqual(actual[different], expected[different], `${message}: entry ${different}`);
  assert.equal(actual.length, expected.length, `${message}: there are more`);
}
