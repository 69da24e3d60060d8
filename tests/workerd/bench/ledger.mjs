/** What it takes to know what has run, and to run what has not. */
import { alternating } from "./alternating.mjs";

const name = (number) => String(number).padStart(5, "0");
const key = (number) => `migration_my-service_${name(number)}`;
const numbers = (from, to) => Array.from({ length: to - from }, (_, index) => from + index);

const STATUS = { what: "status", method: "GET", path: "/migrations/status" };
const IDLE = { what: "idle", method: "POST", path: "/migrate" };
/** With this many milliseconds an operation, a request mostly waits: two of them do not hinder each other. */
const MOSTLY_WAITING = 10;

/** Status, and a run with nothing to do, of migrations that have all run: each by subjects of its own. */
export async function idle([ofStatus, ofIdle], { registered, latencies, limits }) {
  const rows = [];
  let marked = 0;
  for (const number of registered) {
    for (const subjects of [ofStatus, ofIdle]) await mark(subjects, marked, number);
    marked = number;
    for (const milliseconds of latencies) {
      const status = () => unchanged(ofStatus, STATUS, number, milliseconds, limits);
      const idle = () => unchanged(ofIdle, IDLE, number, milliseconds, limits);
      const isWaiting = milliseconds >= MOSTLY_WAITING;
      rows.push(...(isWaiting ? await Promise.all([status(), idle()]) : [await status(), await idle()]));
    }
  }
  return rows;
}

/** A request that finds nothing to do. */
async function unchanged(subjects, { what, method, path }, registered, milliseconds, limits) {
  const headers = { migrations: String(registered), milliseconds: String(milliseconds), budget: "none" };
  const measured = await alternating(
    Object.fromEntries(subjects.map((subject) => [subject.name, () => subject.ask(method, path, headers)])),
    limits,
  );
  for (const [subject, { text }] of Object.entries(measured)) check(subject, JSON.parse(text), registered);
  return { what, registered, milliseconds, ...figures(measured) };
}

function mark(subjects, from, to) {
  return Promise.all(subjects.map((subject) => subject.put(markers(from, to))));
}

/** A run in which some are pending, after others that have run. */
export async function pending(subjects, { runs, latencies, limits }) {
  const rows = [];
  for (const [applied, number] of runs) {
    const registered = applied + number;
    await mark(subjects, 0, applied);
    for (const milliseconds of latencies) {
      const headers = { migrations: String(registered), milliseconds: String(milliseconds), budget: "none" };
      const run = async (subject) => {
        await subject.delete(numbers(applied, registered).map(key));
        const answer = await subject.ask("POST", "/migrate", headers);
        const { ran } = JSON.parse(answer.text);
        if (ran.length !== number) throw new Error(`${subject.name} ran ${ran.length} of ${number}`);
        return answer;
      };
      const measured = await alternating(
        Object.fromEntries(subjects.map((subject) => [subject.name, () => run(subject)])),
        limits,
      );
      rows.push({ what: "run", registered, pending: number, milliseconds, ...figures(measured) });
    }
    await forEach(subjects, (subject) => subject.delete(numbers(0, registered).map(key)));
  }
  return rows;
}

function markers(from, to) {
  const metadata = { runAt: "2026-01-01T00:00:00.000Z" };
  return numbers(from, to).map((number) => ({ key: key(number), value: "true", metadata }));
}

function check(subject, answer, number) {
  const run = Array.isArray(answer) ? answer.filter(({ run }) => run) : answer.skipped;
  if (run.length !== number) throw new Error(`${subject} takes ${run.length} of ${number} for run`);
}

function figures(measured) {
  return Object.fromEntries(
    Object.entries(measured).map(([name, { operations, kinds, took, times }]) => [name, { operations, kinds, took, times }]),
  );
}

async function forEach(subjects, work) {
  for (const subject of subjects) await work(subject);
}
