// "Try it": runs a model's files in the browser. It is loaded when somebody asks, and starts by itself. What visitors
// draw or show stays on their machine: nothing is sent anywhere. docs/reference/try.md says what the page gives.

import { decode, fit, normalise, pixelsOf, Sentence } from "./pixels.js";
import { address, checkGolden, competitors, get, load, requireBrowser } from "./run.js";
import { answerBox, draw, el, nameOf, segmentBox } from "./show.js";

const STYLE = `
#try .try-row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; margin: 0.75rem 0; }
#try .try-answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 12rem), 1fr)); gap: 0.75rem; }
#try .try-answers { margin: 1rem 0; align-items: start; }
#try .try-answer { max-width: 26rem; min-width: 0; padding: 0.6rem; border: 1px solid; border-radius: 0.4rem; }
#try .try-answer h3 { margin: 0 0 0.4rem; overflow-wrap: anywhere; }
#try canvas, #try video { max-width: 100%; height: auto; border: 1px solid; }
#try .try-draw { touch-action: none; cursor: crosshair; background: #000; width: 280px; }
#try .try-shown { max-height: 20rem; width: auto; }
#try .try-small { image-rendering: pixelated; }
#try .try-examples { display: flex; flex-wrap: wrap; gap: 0.4rem; }
#try .try-examples button { padding: 2px; min-width: 44px; min-height: 44px; }
#try .try-examples img { display: block; height: 44px; width: auto; max-width: 88px; object-fit: cover; }
#try table { border-collapse: collapse; width: 100%; table-layout: fixed; }
#try td, #try th { padding: 1px 4px 1px 0; text-align: left; font-weight: normal; overflow-wrap: anywhere; }
#try .try-short th { width: 1.5em; }
#try td.try-number { text-align: right; width: 4rem; padding-right: 0; font-variant-numeric: tabular-nums; }
#try .try-answer h3 small { display: block; font-size: 0.9rem; }
#try .try-said { margin: 0 0 0.4rem; font-size: 1.2rem; }
#try .try-note { margin: 0.5rem 0 0; font-size: 0.8125rem; }
#try figure { margin: 0.6rem 0 0; }
#try .try-bar { height: 0.8rem; background: currentColor; min-width: 1px; }
#try .try-drop { border: 2px dashed; border-radius: 0.4rem; padding: 0.8rem; flex: 1 1 15rem; }
#try .try-drop.try-over { outline: 3px solid; }
#try .try-alert:not(:empty) { border: 2px solid; padding: 0.5rem; font-weight: bold; }
#try .try-swatch { display: inline-block; width: 0.9rem; height: 0.9rem; border: 1px solid; margin-right: 0.4rem; }
`;

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
        const what = error?.message ?? error;
        this.alert.textContent = isOurs ? what : `This browser cannot run the model: ${what}`;
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
    this.input = el("canvas", { class: isDrawn ? "try-draw" : "try-shown", role: "img", "aria-label": label });
    this.answers = this.competitors.map((competitor) =>
      entry.shows === "pixels" ? segmentBox(competitor, this) : answerBox(competitor, this.labels),
    );
    const row = (...children) => el("div", { class: "try-row" }, ...children);
    const given = isDrawn ? this.buildDrawing() : this.buildPicture();
    const left = entry.left_out.map(({ variant, why }) => el("p", {}, `Not here: ${variant}: ${why}.`));
    const boxes = el("div", { class: "try-answers" }, ...this.answers.map(({ box }) => box));
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
          const allowed = `allowed: ${variant.golden.tolerance}${unit}`;
          const error = `largest error ${Number(worst.toPrecision(3))}${unit} (${allowed})`;
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

const section = document.getElementById("try");
await new Page(section, JSON.parse(document.getElementById("try-data").textContent)).start();
