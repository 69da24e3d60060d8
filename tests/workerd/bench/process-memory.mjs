/** The memory of a process, as Linux knows it. Elsewhere nothing is known. */
import { readFile, writeFile } from "node:fs/promises";

const KILOBYTE = 1_024;

/** The processes that this one has started and that have this name. */
export async function children(name) {
  const list = await read(`/proc/self/task/${process.pid}/children`);
  const pids = list.split(" ").filter(Boolean);
  const named = await Promise.all(pids.map(async (pid) => [pid, await read(`/proc/${pid}/comm`)]));
  return named.filter(([, comm]) => comm.trim() === name).map(([pid]) => pid);
}

/** Runs the work, and gives by how many bytes the process grew at most meanwhile: undefined where nobody knows. */
export async function growth(pid, work) {
  // From now on the highest is what it is now.
  await writeFile(`/proc/${pid}/clear_refs`, "5").catch(() => {});
  const before = await field(pid, "VmRSS");
  const result = await work();
  const highest = await field(pid, "VmHWM");
  return [result, Number.isNaN(before) ? undefined : Math.max(0, highest - before)];
}

async function field(pid, name) {
  const line = (await read(`/proc/${pid}/status`)).split("\n").find((line) => line.startsWith(`${name}:`));
  return Number.parseInt(line?.slice(name.length + 1), 10) * KILOBYTE;
}

const read = (file) => readFile(file, "utf8").catch(() => "");
