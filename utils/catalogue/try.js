// "Try it": runs a model's files in the browser. Loaded when somebody asks, and starts by itself. What the visitor draws
// or shows stays on this machine: nothing is sent anywhere. docs/reference/try.md says what the page gives.

import { decode, fit, normalise, palette, pixelsOf, Sentence, tint } from "./pixels.js";
import { best, classMap, judge, shares, thinned } from "./verdict.js";

const RUNTIME = "runtime/litert_wasm_compat_internal.js";
const LARGEST = 640; // pixels of a side of a picture on the page
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];
const LIMITS = { int8: [-128, 127], uint8: [0, 255], float32: null };
const TYPES = { int8: Int8Array, uint8: Uint8Array, float32: Float32Array };

const STYLE = `
#try .try-row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; margin: 0.75rem 0; }
#try .try-answer { flex: 1 1 15rem; max-width: 26rem; min-width: 0; border: 1px solid; border-radius: 0.4rem; padding: 0.6rem; }
#try .try-answer h3 { margin: 0 0 0.4rem; overflow-wrap: anywhere; }
#try canvas, #try video { max-width: 100%; height: auto; border: 1px solid; }
#try .try-draw { touch-action: none; cursor: crosshair; background: #000; width: 280px; }
#try .try-small { image-rendering: pixelated; }
#try .try-examples { display: flex; flex-wrap: wrap; gap: 0.4rem; }
#try .try-examples button { padding: 2px; min-width: 44px; min-height: 44px; }
#try .try-examples img { display: block; height: 44px; width: auto; max-width: 88px; object-fit: cover; }
#try table { border-collapse: collapse; width: 100%; table-layout: fixed; }
#try td, #try th { padding: 1px 4px; text-align: left; font-weight: normal; overflow-wrap: anywhere; }
#try td.try-number { text-align: right; width: 4.5rem; }
#try .try-bar { height: 0.8rem; background: currentColor; min-width: 1px; }
#try .try-drop { border: 2px dashed; border-radius: 0.4rem; padding: 0.8rem; flex: 1 1 15rem; }
#try .try-drop.try-over { outline: 3px solid; }
#try .try-alert:not(:empty) { border: 2px solid; padding: 0.5rem; font-weight: bold; }
#try .try-swatch { display: inline-block; width: 0.9rem; height: 0.9rem; border: 1px solid; margin-right: 0.4rem; }
`;

/** An element with attributes and children; text is text, never markup. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const address = (path) => new URL(path, import.meta.url).href;
const percent = (share) => `${(100 * share).toFixed(1)} %`;

async function get(path) {
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

// --- running -------------------------------------------------------------------------------------------------------

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
function competitors(entry) {
  return [entry, ...entry.beside].flatMap((model) => model.variants.map((variant) => ({ model, variant })));
}

async function load(competitor) {
  const { model, variant } = competitor;
  competitor.network = await Network.load(variant.file, variant.sha256, model.input);
  if (variant.maps) competitor.maps = await Network.load(variant.maps.file, null, model.input);
}

/** Run the golden inputs: {verdict, worst, inputs} of example.py, in steps where the file's own output has steps. */
async function checkGolden({ model, variant, network }) {
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
    ours.push(isSteps ? values.map((value) => Math.round(value / golden.output_scale) + golden.output_zero_point) : values);
    theirs.push(wanted.subarray(number * kept, (number + 1) * kept));
  }
  return judge(ours, theirs, model.output.shape.at(-1), golden.tolerance, LIMITS[golden.output_dtype]);
}

// --- what is shown -------------------------------------------------------------------------------------------------

function bars(found, caption) {
  const rows = found.map(({ label, score }) =>
    el("tr", {}, el("th", { scope: "row" }, label), bar(score), el("td", { class: "try-number" }, percent(score))),
  );
  return el("table", {}, el("caption", {}, caption), el("tbody", {}, ...rows));
}

function bar(score) {
  const made = el("div", { class: "try-bar", "aria-hidden": "true" });
  made.style.width = `${Math.max(0, Math.min(100, 100 * score))}%`;
  return el("td", {}, made);
}

/** Feature maps, values of the shape height x width x channels, as one canvas: a tile a channel, dark to light. */
function drawMaps(canvas, values, shape) {
  const [height, width, channels] = shape;
  const columns = Math.ceil(Math.sqrt(channels));
  const rows = Math.ceil(channels / columns);
  canvas.width = columns * (width + 1) - 1;
  canvas.height = rows * (height + 1) - 1;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
  for (let channel = 0; channel < channels; channel++) {
    const [left, upper] = [(channel % columns) * (width + 1), Math.floor(channel / columns) * (height + 1)];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const level = (255 * (values[(y * width + x) * channels + channel] - low)) / (high - low || 1);
        image.data.set([level, level, level, 255], 4 * ((upper + y) * canvas.width + left + x));
      }
    }
  }
  context.putImageData(image, 0, 0);
  canvas.style.width = `${Math.min(224, 2 * canvas.width)}px`;
}

function nameOf({ model, variant }) {
  return `${model.name}, ${variant.variant}`;
}

/** The box of a competitor, and what fills it. */
function answerBox(competitor, labels) {
  const said = el("div");
  const maps = el("div");
  const ends = competitor.variant.ends === "put back";
  const box = el(
    "div",
    { class: "try-answer", "data-competitor": nameOf(competitor) },
    el("h3", {}, nameOf(competitor)),
    ends ? el("p", {}, "A copy with QUANTIZE and DEQUANTIZE put back at its ends: LiteRT.js takes no integers there.") : "",
    said,
    maps,
  );
  const show = async (values) => {
    const answer = (await competitor.network.run(values))(competitor.model.output.name);
    const found = best(answer, labels, Math.min(labels.length, 10));
    box.dataset.answer = found[0].label;
    const heading = el("p", { class: "try-said" }, el("strong", {}, found[0].label), ` ${percent(found[0].score)}`);
    const first = labels.length > 12 ? found.slice(0, 5) : inOrder(found, labels);
    said.replaceChildren(heading, bars(first, `${competitor.network.ms.toFixed(1)} ms in this browser, on no board`));
    if (competitor.maps) await showMaps(competitor, values, maps);
  };
  return { box, show, said };
}

const inOrder = (found, labels) => [...found].sort((one, other) => labels.indexOf(one.label) - labels.indexOf(other.label));

async function showMaps({ maps, variant }, values, into) {
  const found = await maps.run(values);
  if (!into.childElementCount) {
    into.append(...variant.maps.outputs.map((map) => el("figure", {}, el("figcaption", {}, nameOfMap(map)), mapCanvas(map))));
  }
  const canvases = into.querySelectorAll("canvas");
  variant.maps.outputs.forEach(({ name, shape }, index) => drawMaps(canvases[index], found(name), shape));
}

const nameOfMap = ({ operator, shape }) => `${operator}, ${shape.join(" x ")}`;
const mapCanvas = (map) =>
  el("canvas", { class: "try-small", role: "img", "aria-label": `Feature maps after ${nameOfMap(map)}` });

// --- the page ------------------------------------------------------------------------------------------------------

class Page {
  constructor(section, entry) {
    Object.assign(this, { section, entry });
    this.status = el("p", { role: "status", class: "try-status" });
    this.alert = el("p", { role: "alert", class: "try-alert" });
    this.body = el("div");
    this.queue = Promise.resolve();
  }

  /** Do one thing after the other, and say what goes wrong in a sentence. */
  later(work) {
    this.queue = this.queue.then(async () => {
      this.alert.textContent = "";
      this.section.setAttribute("aria-busy", "true");
      try {
        await work();
      } catch (error) {
        const isOurs = error instanceof Sentence;
        this.alert.textContent = isOurs ? error.message : `This browser cannot run the model: ${error?.message ?? error}`;
      } finally {
        this.section.removeAttribute("aria-busy");
      }
    });
    return this.queue;
  }

  say(text) {
    this.status.textContent = text;
  }

  async start() {
    this.section.hidden = false;
    const heading = this.section.querySelector("h2") ?? el("h2", {}, "Try it");
    this.section.replaceChildren(el("style", {}, STYLE), heading, this.status, this.alert, this.body);
    heading.tabIndex = -1; // the button that had the focus is gone
    heading.focus({ preventScroll: true });
    this.section.dataset.state = "loading";
    await this.later(async () => {
      requireBrowser();
      this.competitors = competitors(this.entry);
      const bytes = this.competitors.reduce((sum, { variant }) => sum + variant.size, 0);
      const models = `${this.competitors.length} models (${(bytes / 1e6).toFixed(1)} MB)`;
      this.say(`Loading the runtime (9.7 MB) and ${models} from this site ...`);
      const text = new TextDecoder().decode(await get(this.entry.labels));
      this.labels = text.replace(/\n$/, "").split("\n");
      for (const competitor of this.competitors) await load(competitor);
      this.build();
      this.say("Ready. Nothing leaves this machine.");
      this.section.dataset.state = "ready";
    });
    if (this.section.dataset.state !== "ready") {
      this.section.dataset.state = "failed";
      this.say("");
    }
  }

  build() {
    const { entry } = this;
    const isDrawn = entry.kind === "draw";
    const label = isDrawn ? "Draw a digit here, with a mouse, a pen or a finger" : "The picture";
    this.input = el("canvas", { class: isDrawn ? "try-draw" : "", role: "img", "aria-label": label });
    this.answers = this.competitors.map((competitor) =>
      entry.task === "segmentation" ? segmentBox(competitor, this) : answerBox(competitor, this.labels),
    );
    const row = (...children) => el("div", { class: "try-row" }, ...children);
    const given = isDrawn ? this.buildDrawing() : this.buildPicture();
    const left = entry.left_out.map(({ variant, why }) => el("p", {}, `Not here: ${variant}: ${why}.`));
    const boxes = row(...this.answers.map(({ box }) => box));
    this.body.append(row(...given), this.buildExamples(), boxes, ...left, this.buildGolden());
  }

  async answer(values) {
    for (const { show } of this.answers) await show(values);
    this.section.dataset.answered = String(Number(this.section.dataset.answered ?? 0) + 1);
  }

  // --- a drawing

  buildDrawing() {
    Object.assign(this.input, { width: 280, height: 280 });
    const context = this.input.getContext("2d", { willReadFrequently: true });
    const clear = () => {
      context.fillStyle = "#000";
      context.fillRect(0, 0, 280, 280);
    };
    clear();
    Object.assign(context, { strokeStyle: "#fff", lineWidth: 22, lineCap: "round", lineJoin: "round" });
    let last = null;
    const place = (event) => {
      const box = this.input.getBoundingClientRect();
      return [((event.clientX - box.left) * 280) / box.width, ((event.clientY - box.top) * 280) / box.height];
    };
    const line = (to) => {
      context.beginPath();
      context.moveTo(...(last ?? to));
      context.lineTo(...to);
      context.stroke();
      last = to;
    };
    const ask = () => this.later(() => this.answer(this.tensor(context.getImageData(0, 0, 280, 280))));
    this.input.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      this.input.setPointerCapture(event.pointerId);
      last = null;
      line(place(event));
    });
    this.input.addEventListener("pointermove", (event) => {
      if (last) for (const each of event.getCoalescedEvents?.() ?? [event]) line(place(each));
    });
    const end = () => {
      if (last) ask();
      last = null;
    };
    this.input.addEventListener("pointerup", end);
    this.input.addEventListener("pointercancel", end);
    this.small = el("canvas", { class: "try-small", role: "img", "aria-label": "What the networks get" });
    this.small.style.width = "112px";
    const seen = el("figure", {}, el("figcaption", {}, "What the networks get"), this.small);
    return [this.input, el("div", {}, el("button", { type: "button", onclick: clear }, "Clear"), seen)];
  }

  showDrawn(image) {
    const context = this.input.getContext("2d");
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(canvas, 0, 0, 280, 280);
  }

  tensor(image) {
    const bytes = fit(image, this.entry.input);
    const [, high, wide] = this.entry.input.shape;
    if (this.small) {
      Object.assign(this.small, { width: wide, height: high });
      const shown = new ImageData(wide, high);
      bytes.forEach((level, index) => shown.data.set([level, level, level, 255], 4 * index));
      this.small.getContext("2d").putImageData(shown, 0, 0);
    }
    return normalise(bytes, this.entry.input);
  }

  // --- a picture

  buildPicture() {
    const chosen = el("input", { type: "file", accept: "image/*", id: "try-file" });
    chosen.addEventListener("change", () => chosen.files[0] && this.take(chosen.files[0], chosen.files[0].name));
    const drop = el(
      "div",
      { class: "try-drop" },
      el("label", { for: "try-file" }, "A picture of yours (or drop one here): "),
      chosen,
      el("p", {}, "It stays on this machine."),
    );
    const over = (is) => (event) => {
      event.preventDefault();
      drop.classList.toggle("try-over", is);
    };
    drop.addEventListener("dragover", over(true));
    drop.addEventListener("dragleave", over(false));
    drop.addEventListener("drop", (event) => {
      over(false)(event);
      const file = event.dataTransfer.files[0];
      if (file) this.take(file, file.name);
    });
    drop.append(this.buildCamera());
    this.input.hidden = true;
    return [drop, this.input];
  }

  buildCamera() {
    const place = el("div");
    const open = el("button", { type: "button" }, "Use the camera");
    const close = (stream) => {
      for (const track of stream.getTracks()) track.stop();
      place.replaceChildren();
      open.hidden = false;
    };
    open.addEventListener("click", () =>
      this.later(async () => {
        if (!navigator.mediaDevices?.getUserMedia) {
          throw new Sentence("This page cannot use a camera: that needs https, or localhost.");
        }
        let stream;
        try {
          stream = await navigator.mediaDevices.getUserMedia({ video: true });
        } catch {
          throw new Sentence("There is no camera, or the browser does not let the page use it: choose a file.");
        }
        const video = el("video", { playsinline: "", "aria-label": "The camera" });
        video.muted = true;
        video.srcObject = stream;
        await video.play();
        const shoot = () => {
          const image = pixelsOf(video, video.videoWidth, video.videoHeight);
          close(stream);
          this.later(() => this.show(image));
        };
        open.hidden = true;
        place.replaceChildren(video, el("button", { type: "button", onclick: shoot }, "Take the picture"));
      }),
    );
    return el("div", {}, open, place);
  }

  take(blob, name) {
    return this.later(async () => this.show(await decode(blob, name)));
  }

  async show(image) {
    this.image = image;
    if (this.entry.kind === "draw") {
      this.showDrawn(image);
    } else {
      this.input.hidden = false;
      draw(this.input, image);
    }
    await this.answer(this.tensor(image));
  }

  buildExamples() {
    const buttons = this.entry.examples.map((path, index) => {
      const name = `example ${index + 1}`;
      const onclick = () => this.later(async () => this.show(await decode(new Blob([await get(path)]), name)));
      return el("button", { type: "button", onclick }, el("img", { src: address(path), alt: name }));
    });
    return el("div", { class: "try-examples", role: "group", "aria-label": "Examples" }, ...buttons);
  }

  // --- the golden tensors

  buildGolden() {
    const list = el("ul", { class: "try-golden" });
    const onclick = () =>
      this.later(async () => {
        list.replaceChildren();
        for (const competitor of this.competitors) {
          const { variant } = competitor;
          if (!variant.golden) continue;
          const { verdict, worst, inputs } = await checkGolden(competitor);
          const unit = variant.golden.unit === "steps" ? " steps" : "";
          const error = `largest error ${Number(worst.toPrecision(3))}${unit} (allowed: ${variant.golden.tolerance}${unit})`;
          const text = `${nameOf(competitor)}: ${verdict}: ${inputs} golden inputs, ${error}`;
          list.append(el("li", { "data-verdict": verdict, "data-worst": worst }, text));
        }
        this.say("The golden inputs are done.");
      });
    const button = el("button", { type: "button", onclick }, "Run the golden inputs");
    const why = "Compares this browser's outputs with the reference kernels', as example.py does on a board.";
    return el("div", {}, el("h3", {}, "Check"), el("p", {}, why), button, list);
  }
}

/** The box of a segmentation model: the picture with its classes, and their shares. */
function segmentBox(competitor, page) {
  const canvas = el("canvas", { role: "img", "aria-label": `The picture with the classes that ${nameOf(competitor)} finds` });
  const legend = el("ul");
  const heading = el("h3", {}, nameOf(competitor));
  const box = el("div", { class: "try-answer", "data-competitor": nameOf(competitor) }, heading, canvas, legend);
  const show = async (values) => {
    const scores = (await competitor.network.run(values))(competitor.model.output.name);
    const [, high, wide, count] = competitor.model.output.shape;
    const classes = classMap(scores, count);
    const image = scaled(page.image);
    tint(image, classes, high, wide, page.labels, competitor.model.input);
    draw(canvas, image);
    const colours = palette(page.labels.length);
    const found = shares(classes, page.labels).filter(({ share }) => share >= 0.05);
    box.dataset.classes = found.map(({ label }) => label).join(",");
    legend.replaceChildren(
      ...found.map(({ number, label, share }) => {
        const swatch = el("span", { class: "try-swatch", "aria-hidden": "true" });
        swatch.style.background = `rgb(${colours[number].join(" ")})`;
        return el("li", {}, swatch, `${label} ${share.toFixed(1)} % of the pixels`);
      }),
    );
  };
  return { box, show };
}

/** A copy of a picture that is at most LARGEST pixels a side. */
function scaled(image) {
  const factor = Math.min(1, LARGEST / Math.max(image.width, image.height));
  const [width, height] = [image.width, image.height].map((side) => Math.max(1, Math.round(side * factor)));
  const [whole, made] = [new OffscreenCanvas(image.width, image.height), new OffscreenCanvas(width, height)];
  whole.getContext("2d").putImageData(image, 0, 0);
  const context = made.getContext("2d", { willReadFrequently: true });
  context.drawImage(whole, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

function draw(canvas, image) {
  const shown = scaled(image);
  Object.assign(canvas, { width: shown.width, height: shown.height });
  canvas.getContext("2d").putImageData(shown, 0, 0);
}

function requireBrowser() {
  const newer = "use a newer browser (Chrome 94, Firefox 105, Safari 16.4 or later).";
  if (typeof WebAssembly !== "object" || !WebAssembly.validate(Uint8Array.from(SIMD))) {
    throw new Sentence(`This browser has no WebAssembly SIMD, which the runtime needs: ${newer}`);
  }
  if (typeof OffscreenCanvas !== "function" || typeof createImageBitmap !== "function") {
    throw new Sentence(`This browser cannot read pictures as the page needs it: ${newer}`);
  }
}

const section = document.getElementById("try");
await new Page(section, JSON.parse(document.getElementById("try-data").textContent)).start();
