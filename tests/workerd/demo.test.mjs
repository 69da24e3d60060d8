// The checks of the demos and of the benchmarks' report find what they are there for.
import assert from "node:assert/strict";
import { test } from "node:test";

import { count, exponent, megabytes, milliseconds, table, time, timesAsFast } from "./bench/numbers.mjs";
import { plot } from "./bench/plot.mjs";
import { differences } from "./demo/differences.mjs";
import * as places from "./demo/places.mjs";

test("an answer may have more fields than expected, and each other difference is told", () => {
  const found = (expected, actual) => [...differences(expected, actual)];
  assert.deepEqual(found([{ id: "001", run: true }], [{ id: "001", run: true, state: "applied" }]), []);
  assert.deepEqual(found({ ran: ["001"], skipped: ["002"], more: 1 }, { ran: ["002"], skipped: [] }), [
    '/ran/0: expected "001", came "002"',
    '/skipped: expected ["002"], came []',
    "/more: expected 1, came undefined",
  ]);
  assert.deepEqual(found([], {}), [": expected [], came {}"]);
  assert.deepEqual(found({}, "oops"), [': expected {}, came "oops"']);
});

test("entries of the gazetteer that are not as they should be are told", async () => {
  const place = { name: "Vila", lat: "42.5", lng: "1", country: "AD", admin1: "03", admin2: "" };
  const expected = places.entriesAtEnd([place, { ...place, name: "Arans" }]);
  const vila = { name: "Vila", country: "AD", location: { lat: 42.5, lng: 1 }, region: "03" };
  const entry = (key, value, metadata) => ({ key, value: JSON.stringify(value), metadata });
  const right = [
    entry("city:AD:0", vila, { country: "AD" }),
    entry("city:AD:1", { ...vila, name: "Arans" }, { country: "AD" }),
    entry("idx:country:AD", [{ name: "Arans", key: "city:AD:1" }, { name: "Vila", key: "city:AD:0" }]),
    ...["001_normalise", "002_by_country", "003_index"].map((id) => entry(`migration_gazetteer_${id}`, true, { runAt: "then" })),
  ];
  assert.deepEqual(await places.differences(expected, right), []);

  const wrong = [
    entry("city:AD:0", { ...vila, location: { lat: "42.5", lng: 1 } }, { country: "AD" }),
    entry("city:AD:1", { ...vila, name: "Arans" }),
    entry("city_1", vila),
    { key: "idx:country:AD", value: "no JSON" },
    entry("migration_gazetteer_001_normalise", { checkpoint: 1 }),
  ];
  const found = (await places.differences(expected, wrong)).map((line) => line.split(/ expected | came /)[0]);
  assert.deepEqual(found, [
    "city:AD:0:",
    "city:AD:1:",
    "city_1: should not be there",
    "idx:country:AD:",
    "migration_gazetteer_001_normalise:",
    "migration_gazetteer_002_by_country: is missing",
    "migration_gazetteer_003_index: is missing",
  ]);
  const start = places.entriesAtStart([place]);
  assert.deepEqual(await places.differences(start, [entry("city_0", place)]), []);
  assert.equal((await places.differences(start, [entry("city_0", place, {})])).length, 1, "metadata counts");
});

test("entries of the gazetteer's variant by value that are not as they should be are told", async () => {
  const place = { name: "Vila", lat: "42.5", lng: "1", country: "AD", admin1: "03", admin2: "" };
  const vila = { name: "Vila", country: "AD", location: { lat: 42.5, lng: 1 }, region: "03" };
  const expected = places.entriesByValueAtEnd([place], (time) => time === 7);
  const found = async (city, country = "Andorra", key = "city:Andorra:0") => {
    const entries = [
      { key, value: JSON.stringify(vila), metadata: city },
      { key: "country:AD", value: country },
      { key: "migration_gazetteer_001_by_country_name", value: "true" },
    ];
    return (await places.differences(expected, entries)).map((line) => line.split(/ expected | came /)[0]);
  };
  assert.deepEqual(await found({ movedAt: 7 }), []);
  for (const metadata of [undefined, {}, { movedAt: 8 }, { movedAt: 7, more: 1 }]) {
    assert.deepEqual(await found(metadata), ["city:Andorra:0:"]);
  }
  assert.deepEqual(await found({ movedAt: 7 }, "Andora"), ["country:AD:"]);
  assert.deepEqual(await found({ movedAt: 7 }, "Andorra", "city:AD:0"), ["city:AD:0: should not be there", "city:Andorra:0: is missing"]);
  assert.deepEqual(places.entriesByValueAtStart([place]).get("city_0").value, place);
});

test("numbers of the benchmarks are written as people read them", () => {
  assert.deepEqual([0, 999, 99.999_999, 1_234_567].map(count), ["0", "999", "100", "1,234,567"]);
  const times = [10, 999.9999, 1_500, 123_456, 1e7, 2e9].map(time);
  assert.deepEqual(times, ["10 ns", "1 µs", "1.5 µs", "123.46 µs", "10 ms", "2 s"]);
  assert.equal(milliseconds(1_350), "1.35 s");
  assert.deepEqual([timesAsFast(2, 100), timesAsFast(2, 1)], ["× 50", "× 0.50"]);
  assert.deepEqual([0, 1, 1_310_720].map(megabytes), ["0.0 MB", "0.1 MB", "1.4 MB"]);
  assert.equal(table(["what", "n"], [["a", 1]]), "| what | n |\n| --- | ---: |\n| a | 1 |");
});

test("the exponent is that of the large end", () => {
  assert.equal(exponent([[10, 5], [100, 7], [1_000, 70]]).toFixed(2), "1.00");
  assert.equal(exponent([[100, 7], [1_000, 700]]).toFixed(2), "2.00");
  assert.equal(exponent([[100, 7], [1_000, 7]]).toFixed(2), "0.00");
});

test("a plot says what it shows, with whole powers of ten at its axes", () => {
  const axis = (label, format) => ({ label, format });
  const chart = (points) =>
    plot({ title: "It <grows>", x: axis("migrations", count), y: axis("time", time), series: [{ name: "all & more", points }] });
  const svg = chart([[12, 900], [10_000, 2_500_000]]);
  for (const label of ["It &lt;grows>", "migrations", "all &amp; more", ">10<", ">10,000<", ">100 ns<", ">10 ms<"]) {
    assert.ok(svg.includes(label), `${label} is missing`);
  }
  for (const points of [[[0, 1]], [[1, -1]], [[1, Number.NaN]]]) assert.throws(() => chart(points), RangeError);
});
