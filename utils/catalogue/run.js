// Running models: LiteRT.js from the site's own runtime/, files with their hashes, and golden tensors.

import { Sentence } from "./pixels.js";
import { judge, thinned } from "./verdict.js";

const RUNTIME = "runtime/litert_wasm_compat_internal.js";
const SIMD = [ // a module with one instruction of it
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];
const LIMITS = { int8: [-128, 127], uint8: [0, 255], float32: null };
const TYPES = { int8: Int8Array, uint8: Uint8Array, float32: Float32Array };

export const address = (path) => new URL(path, import.meta.url).href;

export async function get(path) {
  let answer;
  try {
    answer = await fetch(address(path));
  } catch {
    throw new Sentence(`${path} cannot be loaded: is the server still there? Reload the page.`);
  }
  if (!answer.ok) throw new Sentence(`${path} is not on the server (${answer.status}): the site is not whole.`);
  return new Uint8Array(await answer.arrayBuffer());
}

async function checked(file, sha256) {
  const data = await get(file);
  if (sha256 && globalThis.crypto?.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
    const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    if (found !== sha256) throw new Sentence(`${file} is damaged: its SHA-256 is not that of the page.`);
  }
  return data;
}

let runtime; // the promise of LiteRT.js: one for the page

function loadRuntime() {
  runtime ??= (async () => {
    const found = await import(address("runtime/index.js"));
    globalThis.Module = { printErr: (text) => console.info(text) }; // XNNPACK says there that it is at work
    await found.loadLiteRt(address(RUNTIME));
    return found;
  })();
  return runtime;
}

/** One file: run(values) gives a function: the name of an output -> its float32 array. */
class Network {
  static async load(file, sha256, input) {
    const litert = await loadRuntime();
    const made = new Network();
    made.litert = litert;
    made.shape = input.shape;
    made.model = await litert.loadAndCompile(await checked(file, sha256), { accelerator: "wasm" });
    return made;
  }

  async run(values) {
    const given = new this.litert.Tensor(values, this.shape);
    let outputs = [];
    try {
      const begin = performance.now();
      outputs = await this.model.run(given);
      this.ms = performance.now() - begin;
      const names = this.model.getOutputDetails().map(({ name }) => name); // their order is the runtime's own
      const found = await Promise.all(outputs.map((output) => output.data()));
      return (name) => (found.length === 1 ? found[0] : found[names.indexOf(name)]);
    } finally {
      for (const tensor of [given, ...outputs]) tensor.delete();
    }
  }
}

/** A model of the page and one of its variants: what stands beside each other. */
export function competitors(entry) {
  return [entry, ...entry.beside].flatMap((model) => model.variants.map((variant) => ({ model, variant })));
}

export async function load(competitor) {
  const { model, variant } = competitor;
  competitor.network = await Network.load(variant.file, variant.sha256, model.input);
  const size = model.input.shape.reduce((product, length) => product * length);
  await competitor.network.run(new Float32Array(size)); // its first run is the slowest, and its time is shown
  if (variant.maps) competitor.maps = await Network.load(variant.maps.file, null, model.input);
}

/** Run the golden inputs: {verdict, worst, inputs} of example.py, in steps where the file's own output has steps. */
export async function checkGolden({ model, variant, network }) {
  const { golden } = variant;
  const [inputs, outputs] = await Promise.all([get(golden.inputs), get(golden.outputs)]);
  const real = Float32Array.from(new TYPES[golden.dtype](inputs.buffer), (value) =>
    Math.fround(Math.fround(value - golden.input_zero_point) * Math.fround(golden.input_scale)),
  );
  const wanted = new TYPES[golden.output_dtype](outputs.buffer);
  const [size, kept] = [real.length / golden.count, wanted.length / golden.count];
  const [ours, theirs] = [[], []];
  for (let number = 0; number < golden.count; number++) {
    const answer = (await network.run(real.slice(number * size, (number + 1) * size)))(model.output.name);
    const values = thinned(answer, model.output.shape, golden.step);
    const isSteps = golden.unit === "steps";
    const steps = (value) => Math.round(value / golden.output_scale) + golden.output_zero_point;
    ours.push(isSteps ? values.map(steps) : values);
    theirs.push(wanted.subarray(number * kept, (number + 1) * kept));
  }
  return judge(ours, theirs, model.output.shape.at(-1), golden.tolerance, LIMITS[golden.output_dtype]);
}

/** Throws a Sentence where this browser lacks what the runtime needs. */
export function requireBrowser() {
  const newer = "use a newer browser (Chrome 94, Firefox 105, Safari 16.4 or later).";
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(Uint8Array.from(SIMD))) {
    throw new Sentence(`This browser has no WebAssembly SIMD, which the runtime needs: ${newer}`);
  }
  if (typeof OffscreenCanvas !== "function" || typeof createImageBitmap !== "function") {
    throw new Sentence(`This browser cannot read pictures as the page needs it: ${newer}`);
  }
}
