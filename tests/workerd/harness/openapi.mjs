// Checks answers against docs/reference/openapi.json.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { Ajv2020 } from "ajv/dist/2020.js";

const DESCRIPTION = new URL("../../../docs/reference/openapi.json", import.meta.url);
const description = JSON.parse(readFileSync(DESCRIPTION, "utf8"));
const validator = schemas();
/** What was answered, as `migrate 200`. */
const met = new Set();

/** The schemas of the description. Clients ignore fields that they do not know; here each field must be described. */
function schemas() {
  const text = JSON.stringify(description.components.schemas).replaceAll("#/components/schemas/", "#/$defs/");
  const $defs = JSON.parse(text, (_, value) =>
    value?.type === "object" && value.properties ? { ...value, additionalProperties: false } : value,
  );
  const ajv = new Ajv2020({ validateFormats: false, allErrors: true });
  return ajv.addSchema({ $id: "described", $defs });
}

/** The value that `{ "$ref": … }` stands for. */
function resolved(value) {
  if (value?.$ref === undefined) return value;
  return value.$ref.slice(2).split("/").reduce((inner, name) => inner[name], description);
}

/** The routes that are described, with one id for all. */
export function describedRoutes(id) {
  return Object.entries(description.paths).flatMap(([path, { parameters: _, ...operations }]) =>
    Object.entries(operations).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path: path.replace("{id}", id),
      operation,
    })),
  );
}

function operationOf(method, path) {
  const matches = (template) => new RegExp(`^${template.replace("{id}", "[^/]+")}$`).test(path);
  const templates = Object.keys(description.paths).filter(matches);
  const template = templates.find((one) => one === path) ?? templates[0];
  return description.paths[template]?.[method.toLowerCase()];
}

/** Checks an answer to a request for one of the routes. The wrong method is answered by a problem. */
export function assertDescribed(method, target, answer) {
  const [path] = target.split("?");
  const operation = operationOf(method, path);
  const { status, headers } = answer;
  const range = `${String(status)[0]}XX`;
  const name = operation?.responses[status] === undefined ? range : status;
  const response = resolved(operation?.responses[name] ?? { $ref: "#/components/responses/Problem" });
  const title = `${method} ${target}: ${status}`;
  const content = response.content[headers.get("content-type")];
  assert.ok(content, `${title} is described with another type than ${headers.get("content-type")}`);
  for (const [header, { required }] of Object.entries(response.headers ?? {})) {
    assert.ok(!required || headers.has(header), `${title} has no ${header}`);
  }
  const bodies = answer.json === undefined ? answer.text.trim().split("\n").map((line) => JSON.parse(line)) : [answer.json];
  const validate = validator.compile(rebased(content.schema));
  for (const body of bodies) {
    const told = () => `${title}: ${JSON.stringify(body)} is not as described: ${JSON.stringify(validate.errors)}`;
    assert.ok(validate(body), validate.errors === null ? "" : told());
  }
  if (bodies[0].type?.startsWith("urn:")) assert.equal(bodies[0].status, status, title);
  met.add(`${operation?.operationId} ${name}`);
}

const compiled = new Map();

/** One object for each schema, which Ajv compiles once. */
function rebased(schema) {
  const text = JSON.stringify(schema).replaceAll("#/components/schemas/", "described#/$defs/");
  if (!compiled.has(text)) compiled.set(text, JSON.parse(text));
  return compiled.get(text);
}

/** Which answers of a route are described, and were not met by this process. */
export function notMet({ operation }) {
  const statuses = Object.keys(operation.responses).filter((status) => status !== "5XX");
  return statuses.map((status) => `${operation.operationId} ${status}`).filter((answer) => !met.has(answer));
}
