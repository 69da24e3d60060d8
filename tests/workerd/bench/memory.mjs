/** Notices the memory of a Worker's WebAssembly, which grows and never shrinks. It has to come before what makes it. */
const Instance = WebAssembly.Instance;

let memory;

WebAssembly.Instance = class extends Instance {
  constructor(...options) {
    super(...options);
    memory = this.exports.memory;
  }
};

/** In bytes; 0 without WebAssembly. */
export const wasmMemory = () => memory?.buffer.byteLength ?? 0;
