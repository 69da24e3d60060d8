/**
 * Looks at a Worker's WebAssembly from outside: its memory, which grows and never shrinks, and its calls of JavaScript. It has
 * to come before what makes the instance.
 */
import isCounting from "./counting.mjs";

const Instance = WebAssembly.Instance;

let memory;
let calls = {};

WebAssembly.Instance = class extends Instance {
  constructor(module, imports) {
    super(module, isCounting ? counted(imports) : imports);
    memory = this.exports.memory;
  }
};

/** In bytes; 0 without WebAssembly. */
export const wasmMemory = () => memory?.buffer.byteLength ?? 0;

/** How often each function of JavaScript was called since this was asked last. Empty if they are not counted. */
export function takeCalls() {
  const taken = calls;
  calls = {};
  return taken;
}

function counted(imports) {
  const countedFunction = ([name, value]) => {
    if (typeof value !== "function") return [name, value];
    // Without what tells versions of the same function apart.
    const shortName = name.replace(/^__wbg_|_[0-9a-f]{16}$/g, "");
    const call = (...values) => {
      calls[shortName] = (calls[shortName] ?? 0) + 1;
      return value(...values);
    };
    return [name, call];
  };
  const countedModule = ([name, module]) => [name, Object.fromEntries(Object.entries(module).map(countedFunction))];
  return Object.fromEntries(Object.entries(imports).map(countedModule));
}
