/** Namespaces that hold the same entries: written once, and copied, which takes a fraction of the time. */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { Subject, typescript } from "./subject.mjs";

/**
 * @param {{ key: string, value: string }[]} entries
 * @param {number} number how many
 * @param {(directories: string[]) => Promise<T>} work on the directories that keep them, which are gone afterwards
 * @returns {Promise<T>}
 * @template T
 */
export async function withSeeds(entries, number, work) {
  const directory = await mkdtemp(path.join(tmpdir(), "seeds-"));
  try {
    const [first, ...others] = Array.from({ length: number }, (_, index) => path.join(directory, String(index)));
    const writer = await Subject.start("writer", await typescript(), { kvPersist: first });
    try {
      await writer.put(entries);
    } finally {
      await writer.stop();
    }
    await Promise.all(others.map((other) => cp(first, other, { recursive: true })));
    return await work([first, ...others]);
  } finally {
    await rm(directory, { recursive: true });
  }
}
