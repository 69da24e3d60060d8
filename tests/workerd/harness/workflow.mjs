/** Runs the jobs of examples/github-actions/deploy.yml as a runner of GitHub Actions does: their `run:` blocks, by bash. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { parse } from "yaml";

import { execute } from "./programs.mjs";

const FILE = new URL("../../../examples/github-actions/deploy.yml", import.meta.url);

export const text = readFileSync(FILE, "utf8");
export const workflow = parse(text);

/** How a runner starts `shell: bash`. */
const BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"];

/**
 * Runs a job, until a step fails.
 *
 * @param {string} name
 * @param {object} options
 * @param {string} options.directory the checkout
 * @param {string} options.temporary where the runner keeps its own files
 * @param {Record<string, unknown>} options.context the expressions of the workflow, with their values
 * @param {Record<string, string>} options.env the runner's own variables
 * @param {string[]} [options.only] the names of the steps that are run; without it, all of them
 * @param {[string, string][]} [options.replace] what is replaced in their scripts
 */
export async function runJob(name, { directory, temporary, context, env, only, replace = [] }) {
  assert.equal(workflow.defaults.run.shell, "bash");
  const job = workflow.jobs[name];
  assert.ok(holds(job.if, context), `the job ${name} runs`);
  const ended = { code: 0, failed: undefined, ran: [], output: "", summary: "", uploaded: undefined };
  const exported = {};
  for (const step of job.steps) {
    if (step.if !== undefined && !holds(step.if, context)) continue;
    if (step.uses?.startsWith("actions/upload-artifact@")) ended.uploaded = path.join(directory, step.with.path);
    if (step.run === undefined || (only && !only.includes(step.name))) continue;
    const files = { GITHUB_STEP_SUMMARY: path.join(temporary, "summary"), GITHUB_ENV: path.join(temporary, "env") };
    for (const file of Object.values(files)) writeFileSync(file, "");
    const variables = { ...env, ...values(workflow.env, context), ...exported, ...values(step.env, context), ...files };
    const script = replace.reduce(replaceAll, step.run);
    const { code, output } = await execute([...BASH, script], { cwd: directory, env: variables });
    ended.ran.push(step.name);
    ended.output += output;
    ended.summary += readFileSync(files.GITHUB_STEP_SUMMARY, "utf8");
    for (const [, name, value] of readFileSync(files.GITHUB_ENV, "utf8").matchAll(/^(\w+)=(.*)$/gm)) exported[name] = value;
    if (code !== 0) return { ...ended, code, failed: step.name };
  }
  assert.ok(only || !ended.uploaded || existsSync(ended.uploaded), "there is what is uploaded");
  return ended;
}

function holds(condition, context) {
  assert.ok(condition in context, `the test knows \`${condition}\``);
  return context[condition];
}

function values(env = {}, context) {
  return Object.fromEntries(Object.entries(env).map(([name, text]) => [name, value(text, context)]));
}

/** The value of a text that may be one expression. */
function value(text, context) {
  const [, expression] = text.match(/^\$\{\{ (.*) \}\}$/) ?? [];
  const isKnown = (expression ?? text) in context;
  assert.ok(isKnown || (expression === undefined && !text.includes("${{")), `the test knows \`${text}\``);
  return isKnown ? context[expression ?? text] : text;
}

function replaceAll(script, [old, replacement]) {
  return script.replaceAll(old, replacement);
}
