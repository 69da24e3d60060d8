import { readFileSync } from "node:fs";

function read(name) {
  return JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8"));
}

/** A namespace that the TypeScript runner left. @type {import("./namespace.mjs").Entry[]} */
export const namespace = read("typescript-namespace.json");

/** What the TypeScript runner answered when it wrote that namespace, by `METHOD /service/path`. */
export const responses = read("typescript-responses.json");
