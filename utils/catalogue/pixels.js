// Pictures as the build and example.py make tensors of them: the same pixels as Pillow, to the last bit, for the same
// decoded picture. PNG, BMP and GIF decode alike everywhere; decoders of JPEG and WebP differ by a few levels.

export class Sentence extends Error {} // a message for people: what is wrong, and what to do

const MOST_PIXELS = 2 ** 26; // as example.py
const MOST_BYTES = 2 ** 28;
const HEADER_BYTES = 2 ** 22; // a JPEG may have its size behind large profiles
const PRECISION = 22; // bits behind the point of Pillow's weights

// --- reading -------------------------------------------------------------------------------------------------------

/** Width and height that the first bytes of a picture promise; null if they are no picture's. */
export function sizeOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const is = (text, at) => [...text].every((char, index) => bytes[at + index] === char.charCodeAt(0));
  try {
    if (bytes[0] === 0x89 && is("PNG\r\n", 1)) return [view.getUint32(16), view.getUint32(20)];
    if (is("GIF8", 0)) return [view.getUint16(6, true), view.getUint16(8, true)];
    if (is("BM", 0)) return [view.getInt32(18, true), Math.abs(view.getInt32(22, true))];
    if (is("RIFF", 0) && is("WEBPVP8", 8)) return sizeOfWebP(view, bytes[15]);
    if (bytes[0] === 0xff && bytes[1] === 0xd8) return sizeOfJpeg(view);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // cut short
  }
  return null;
}

function sizeOfWebP(view, kind) {
  const three = (at) => view.getUint16(at, true) + (view.getUint8(at + 2) << 16);
  if (kind === 0x58) return [three(24) + 1, three(27) + 1]; // VP8X
  if (kind === 0x4c) return [(view.getUint32(21, true) & 0x3fff) + 1, ((view.getUint32(21, true) >>> 14) & 0x3fff) + 1];
  return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
}

function sizeOfJpeg(view) {
  for (let at = 2; ; ) {
    if (view.getUint8(at) !== 0xff) return null;
    const marker = view.getUint8(at + 1);
    if (marker === 0xff || (marker >= 0xd0 && marker <= 0xd7) || marker === 1) {
      at += marker === 0xff ? 1 : 2;
    } else if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return [view.getUint16(at + 7), view.getUint16(at + 5)];
    } else {
      at += 2 + view.getUint16(at + 2);
    }
  }
}

/** Decode a file of the visitor: {width, height, data: RGBA bytes}. Throws a Sentence for what is no picture. */
export async function decode(blob, name = "the file") {
  const give = "give a JPEG, PNG, BMP, GIF or WebP file";
  if (blob.size > MOST_BYTES) throw new Sentence(`${name} has more than 256 MB: ${give} that is smaller.`);
  const size = sizeOf(new Uint8Array(await blob.slice(0, HEADER_BYTES).arrayBuffer()));
  if (!size || size[0] < 1 || size[1] < 1) throw new Sentence(`${name} is not a picture: ${give}.`);
  if (size[0] * size[1] > MOST_PIXELS) {
    const millions = Math.round((size[0] * size[1]) / 1e6);
    const most = Math.floor(MOST_PIXELS / 1e6);
    throw new Sentence(`${name} has ${millions} megapixels, and the page takes ${most}: make it smaller.`);
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new Sentence(`${name} cannot be read: it is damaged, or not of the kind that it begins like; ${give}.`);
  }
  try {
    return pixelsOf(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

/** The pixels of anything that a canvas can draw. */
export function pixelsOf(drawable, width, height) {
  if (width * height > MOST_PIXELS) throw new Sentence("the picture has too many pixels: make it smaller.");
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(drawable, 0, 0);
  return context.getImageData(0, 0, width, height);
}

// --- colours and size ----------------------------------------------------------------------------------------------

/** RGBA bytes to gray (1 channel) or RGB (3); transparent pixels become black. */
export function inColours(data, channels) {
  const count = data.length / 4;
  const made = new Uint8Array(count * channels);
  for (let pixel = 0; pixel < count; pixel++) {
    let [red, green, blue] = [data[4 * pixel], data[4 * pixel + 1], data[4 * pixel + 2]];
    const alpha = data[4 * pixel + 3];
    if (alpha !== 255) [red, green, blue] = [over(red, alpha), over(green, alpha), over(blue, alpha)];
    if (channels === 1) {
      made[pixel] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    } else {
      made[3 * pixel] = red;
      made[3 * pixel + 1] = green;
      made[3 * pixel + 2] = blue;
    }
  }
  return made;
}

function over(value, alpha) {
  const sum = value * alpha * 128 + (0x80 << 7);
  return (((sum >> 8) + sum) >> 8) >> 7;
}

/** The part that the graph sees: left, upper, right, lower in pixels. */
export function seen(width, height, input) {
  if (input.fit !== "crop") return [0, 0, width, height];
  const [, high, wide] = input.shape;
  const scale = Math.min(width / wide, height / high);
  const part = [Math.min(wide * scale, width), Math.min(high * scale, height)];
  const [left, upper] = [(width - part[0]) / 2, (height - part[1]) / 2];
  return [left, upper, left + part[0], upper + part[1]];
}

const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
const FILTERS = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    at: (value) => {
      const [x, a] = [Math.abs(value), -0.5];
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    },
  },
  lanczos: { support: 3, at: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/** For each place along one side: the first source place, and whole weights with PRECISION bits behind the point. */
function weights(size, from, to, count, filter) {
  const scale = Math.fround(to - from) / count;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  return Array.from({ length: count }, (_, place) => {
    const center = from + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(center - support + 0.5));
    const last = Math.min(size, Math.trunc(center + support + 0.5));
    const real = [];
    for (let x = 0; x < last - first; x++) real.push(filter.at((x + first - center + 0.5) * (1 / stretch)));
    const sum = real.reduce((total, weight) => total + weight, 0);
    const whole = real.map((weight) => {
      const share = sum === 0 ? weight : weight / sum;
      return Math.trunc((share < 0 ? -0.5 : 0.5) + share * 2 ** PRECISION);
    });
    return { first, whole };
  });
}

/** Weighted sums along the rows: lines of `width` pixels to lines of `plan.length`. */
function across(source, width, height, channels, plan) {
  const made = new Uint8ClampedArray(plan.length * height * channels);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < plan.length; x++) {
      const { first, whole } = plan[x];
      for (let channel = 0; channel < channels; channel++) {
        let sum = 2 ** (PRECISION - 1);
        let at = (y * width + first) * channels + channel;
        for (let k = 0; k < whole.length; k++, at += channels) sum += source[at] * whole[k];
        made[(y * plan.length + x) * channels + channel] = Math.floor(sum / 2 ** PRECISION);
      }
    }
  }
  return made;
}

/** The same along the columns. */
function down(source, width, channels, plan) {
  const line = width * channels;
  const made = new Uint8ClampedArray(plan.length * line);
  for (let y = 0; y < plan.length; y++) {
    const { first, whole } = plan[y];
    for (let x = 0; x < line; x++) {
      let sum = 2 ** (PRECISION - 1);
      for (let k = 0; k < whole.length; k++) sum += source[(first + k) * line + x] * whole[k];
      made[y * line + x] = Math.floor(sum / 2 ** PRECISION);
    }
  }
  return made;
}

function nearest(source, width, height, channels, high, wide, box) {
  const places = (from, to, count, size) => {
    const step = Math.fround(to - from) / count;
    let at = from + step * 0.5;
    return Array.from({ length: count }, () => {
      const place = Math.min(size - 1, Math.trunc(at));
      at += step;
      return place;
    });
  };
  const [columns, rows] = [places(box[0], box[2], wide, width), places(box[1], box[3], high, height)];
  const made = new Uint8Array(high * wide * channels);
  let to = 0;
  for (const row of rows) {
    for (const column of columns) {
      const at = (row * width + column) * channels;
      for (let channel = 0; channel < channels; channel++) made[to++] = source[at + channel];
    }
  }
  return made;
}

/** RGBA pixels {width, height, data} to the graph's colours and size: bytes, height x width x channels. */
export function fit(image, input) {
  const [, high, wide, channels] = input.shape;
  const { width, height } = image;
  const source = inColours(image.data, channels);
  const box = seen(width, height, input).map(Math.fround);
  if (width === wide && height === high) return source;
  if (input.resize === "nearest") return nearest(source, width, height, channels, high, wide, box);
  const filter = FILTERS[input.resize];
  if (!filter) throw new Sentence(`the page cannot resize with ${input.resize}.`);
  const isWhole = (from, to, count, size) => count === size && from === 0 && to === count;
  const columns = isWhole(box[0], box[2], wide, width) ? null : weights(width, box[0], box[2], wide, filter);
  const rows = isWhole(box[1], box[3], high, height) ? null : weights(height, box[1], box[3], high, filter);
  const goesDownFirst = high < height && height - high > 2 * (width - wide); // as Pillow 13, by the whole picture's size
  let made = source;
  if (rows && goesDownFirst) made = down(made, width, channels, rows);
  if (columns) made = across(made, width, goesDownFirst ? high : height, channels, columns);
  if (rows && !goesDownFirst) made = down(made, wide, channels, rows);
  return made;
}

/** (pixel - mean) / std per channel, in float32 as numpy computes it. */
export function normalise(bytes, input) {
  const [mean, std] = [input.mean.map(Math.fround), input.std.map(Math.fround)];
  const channels = mean.length;
  const scaled = (value, channel) => Math.fround(value - mean[channel]) / std[channel];
  return Float32Array.from(bytes, (value, index) => scaled(value, index % channels));
}

// --- classes of pixels ---------------------------------------------------------------------------------------------

/** The colours of PASCAL VOC for the classes 0 .. count - 1, each [red, green, blue]. */
export function palette(count) {
  return Array.from({ length: count }, (_, number) =>
    [0, 1, 2].map((channel) => {
      let colour = 0;
      for (let bit = 0; bit < 8; bit++) colour |= ((number >> (3 * bit + channel)) & 1) << (7 - bit);
      return colour;
    }),
  );
}

/** Tint RGBA pixels in place with the classes (high x wide) of the part that the graph saw; the background stays. */
export function tint(image, classes, high, wide, labels, input) {
  const colours = palette(labels.length);
  const [left, upper, right, lower] = seen(image.width, image.height, input).map(Math.round);
  for (let y = upper; y < lower; y++) {
    for (let x = left; x < right; x++) {
      const row = Math.min(high - 1, Math.floor(((y - upper + 0.5) * high) / (lower - upper)));
      const column = Math.min(wide - 1, Math.floor(((x - left + 0.5) * wide) / (right - left)));
      const found = classes[row * wide + column];
      if (found >= labels.length || labels[found].toLowerCase() === "background") continue;
      const at = 4 * (y * image.width + x);
      const grey = 0.299 * image.data[at] + 0.587 * image.data[at + 1] + 0.114 * image.data[at + 2];
      colours[found].forEach((colour, channel) => (image.data[at + channel] = 0.6 * colour + 0.4 * grey));
    }
  }
}
