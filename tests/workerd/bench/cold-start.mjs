/** How long it takes from nothing to the first answer: a workerd that is started for it, by turns. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { Workerd, configure } from "../harness/workerd.mjs";
import { median } from "./alternating.mjs";

/**
 * @param {Record<string, { type: string, path: string, contents: Buffer }[]>} workers the modules of each, by name
 * @returns milliseconds, by name
 */
export async function coldStarts(workers, times) {
  const directory = await mkdtemp(path.join(tmpdir(), "kv-migrations-"));
  try {
    const took = Object.fromEntries(Object.keys(workers).map((name) => [name, []]));
    const configs = {};
    for (const [name, modules] of Object.entries(workers)) configs[name] = await configure(directory, name, { modules });
    for (let time = 0; time < times; time += 1) {
      for (const [name, config] of Object.entries(configs)) took[name].push(await start(config));
    }
    return Object.entries(took).map(([name, all]) => ({ name, milliseconds: median(all), fastest: Math.min(...all), times }));
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function start(config) {
  const begin = performance.now();
  const running = await Workerd.start(config);
  try {
    const answer = await running.fetch("/");
    if (!answer.ok) throw new Error(`${config} answered ${answer.status}`);
    await answer.text();
    return performance.now() - begin;
  } finally {
    await running.stop();
  }
}
