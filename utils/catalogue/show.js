// Showing answers: bars, feature maps, pictures with their classes. Text of bundles is text, never markup.

import { palette, tint } from "./pixels.js";
import { best, classMap, shares } from "./verdict.js";

const LARGEST = 640; // pixels of a side of a picture on the page

/** An element with attributes and children; text is text, never markup. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;

const SHORT = 2; // characters of a label that leaves the room to its bar

function bars(found) {
  const rows = found.map(({ label, score }) =>
    el("tr", {}, el("th", { scope: "row" }, label), bar(score), el("td", { class: "try-number" }, percent(score))),
  );
  const isShort = found.every(({ label }) => label.length <= SHORT);
  return el("table", { class: isShort ? "try-short" : null }, el("tbody", {}, ...rows));
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

export function nameOf({ model, variant }) {
  return `${model.name}, ${variant.variant}`;
}

const headingOf = ({ model, variant }) => el("h3", {}, model.name, " ", el("small", {}, variant.variant));

/** What stands below an answer: how long it took, and what the file is where it is not the bundle's own. */
function footOf(competitor) {
  const time = el("p", { class: "try-note" });
  const ends = "A copy with QUANTIZE and DEQUANTIZE put back at its ends: LiteRT.js takes no integers there.";
  const notes = [time, ...(competitor.variant.ends === "put back" ? [el("p", { class: "try-note" }, ends)] : [])];
  const tell = () => {
    time.textContent = `${competitor.network.ms.toFixed(1)} ms in this browser, on no board`;
  };
  return { notes, tell };
}

/** The box of a competitor, and what fills it. */
export function answerBox(competitor, labels) {
  const said = el("div");
  const maps = el("div");
  const { notes, tell } = footOf(competitor);
  const box = el(
    "div",
    { class: "try-answer", "data-competitor": nameOf(competitor) },
    headingOf(competitor),
    said,
    maps,
    ...notes,
  );
  const show = async (values) => {
    const answer = (await competitor.network.run(values))(competitor.model.output.name);
    const found = best(answer, labels, Math.min(labels.length, 10));
    box.dataset.answer = found[0].label;
    const heading = el("p", { class: "try-said" }, el("strong", {}, found[0].label), ` ${percent(found[0].score)}`);
    const first = labels.length > 12 ? found.slice(0, 5) : inOrder(found, labels);
    said.replaceChildren(heading, bars(first));
    tell();
    if (competitor.maps) await showMaps(competitor, values, maps);
  };
  return { box, show, said };
}

function inOrder(found, labels) {
  return [...found].sort((one, other) => labels.indexOf(one.label) - labels.indexOf(other.label));
}

async function showMaps({ maps, variant }, values, into) {
  const found = await maps.run(values);
  if (!into.childElementCount) {
    const figure = (map) => el("figure", {}, el("figcaption", {}, nameOfMap(map)), mapCanvas(map));
    into.append(...variant.maps.outputs.map(figure));
  }
  const canvases = into.querySelectorAll("canvas");
  variant.maps.outputs.forEach(({ name, shape }, index) => drawMaps(canvases[index], found(name), shape));
}

const nameOfMap = ({ operator, shape }) => `${operator}, ${shape.join(" x ")}`;
const mapCanvas = (map) =>
  el("canvas", { class: "try-small", role: "img", "aria-label": `Feature maps after ${nameOfMap(map)}` });

/** The box of a model for pixels: the picture with its classes, and their shares. */
export function segmentBox(competitor, page) {
  const label = `The picture with the classes that ${nameOf(competitor)} finds`;
  const canvas = el("canvas", { role: "img", "aria-label": label });
  const legend = el("ul");
  const { notes, tell } = footOf(competitor);
  const parts = [headingOf(competitor), canvas, legend, ...notes];
  const box = el("div", { class: "try-answer", "data-competitor": nameOf(competitor) }, ...parts);
  const show = async (values) => {
    const scores = (await competitor.network.run(values))(competitor.model.output.name);
    tell();
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

export function draw(canvas, image) {
  const shown = scaled(image);
  Object.assign(canvas, { width: shown.width, height: shown.height });
  canvas.getContext("2d").putImageData(shown, 0, 0);
}
