import { isDeepStrictEqual } from "node:util";

/** Every place where `actual` lacks what `expected` has. Fields that only `actual` has are no difference. */
export function* differences(expected, actual, place = "") {
  const isComparedByField =
    [expected, actual].every((value) => typeof value === "object" && value !== null) &&
    (Array.isArray(expected) ? Array.isArray(actual) && actual.length === expected.length : !Array.isArray(actual));
  if (isComparedByField) {
    for (const [name, value] of Object.entries(expected)) yield* differences(value, actual[name], `${place}/${name}`);
  } else if (!isDeepStrictEqual(actual, expected)) {
    yield `${place}: expected ${JSON.stringify(expected)}, came ${JSON.stringify(actual)}`;
  }
}
