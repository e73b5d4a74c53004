"use strict";

// The engine's side: a worker where the browser lets a page from a file have one, else the page itself.
// `port` has postMessage and onmessage. It takes {model, builds, fit} in base64 once, then {id, bitmap} or
// {id, pixels, width, height}, and gives {ready}, {id, answer}, {id, heat}, {id, error} or {failed}.
function engine(port) {
  const TOP = 5;
  let exports, card;

  function bytesOf(base64) {
    if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
    const text = atob(base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  // Views of the memory are made anew after each call: growing it invalidates older ones.
  const floats = (at, count) => new Float32Array(exports.memory.buffer, at >>> 0, count).slice();

  async function start({ model, builds, ...rest }) {
    card = rest;
    const name = Object.keys(builds).find((each) => WebAssembly.validate(bytesOf(builds[each])));
    exports = (await WebAssembly.instantiate(bytesOf(builds[name]))).instance.exports;
    const bytes = bytesOf(model), at = exports.model(bytes.length) >>> 0;
    new Uint8Array(exports.memory.buffer, at, bytes.length).set(bytes);
    if (!exports.prepare()) throw new Error("the model in this page is damaged");
    port.postMessage({ ready: true, build: name });
  }

  // RGBA over white: of a photo that is cropped only its centre square.
  function pixelsOf({ bitmap, pixels, width, height }) {
    if (pixels) return { data: pixels, width, height };
    const side = Math.min(bitmap.width, bitmap.height), whole = card.fit !== "crop";
    const [w, h] = whole ? [bitmap.width, bitmap.height] : [side, side];
    const canvas = new OffscreenCanvas(w, h), context = canvas.getContext("2d", { willReadFrequently: true });
    const left = Math.floor((bitmap.width - w) / 2), top = Math.floor((bitmap.height - h) / 2);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, w, h);
    context.imageSmoothingEnabled = false;
    context.drawImage(bitmap, left, top, w, h, 0, 0, w, h);
    bitmap.close();
    return context.getImageData(0, 0, w, h);
  }

  function isBlank(data) {
    const words = new Uint32Array(data.buffer, data.byteOffset, data.length / 4);
    return words.every((word) => word === words[0]);
  }

  function answer(request) {
    const { data, width, height } = pixelsOf(request), begin = performance.now();
    const at = exports.picture(width, height) >>> 0;
    new Uint8Array(exports.memory.buffer, at, data.length).set(data);
    const probabilities = floats(exports.answer(), card.classes), unknown = exports.unknown();
    const milliseconds = performance.now() - begin;
    if (!probabilities.every(Number.isFinite)) throw new Error("the network's answer is no number");
    const order = [...probabilities.keys()].sort((a, b) => probabilities[b] - probabilities[a]).slice(0, TOP);
    const seen = new Uint8ClampedArray(exports.memory.buffer, exports.seen() >>> 0, 4 * card.input ** 2).slice();
    const best = order.map((label) => [label, probabilities[label]]);
    port.postMessage({ id: request.id, answer: { probabilities, best, unknown, seen, milliseconds, blank: isBlank(data) } });
    const maps = order.map((label) => floats(exports.heat(label), card.maps[0] * card.maps[1]));
    port.postMessage({ id: request.id, heat: maps });
  }

  let model = null;
  port.onmessage = async ({ data }) => {
    if (!model) {
      model = start(data);
      return model.catch((error) => port.postMessage({ failed: String(error.message || error) }));
    }
    try {
      await model;
      answer(data);
    } catch (error) {
      const memory = error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
      const message = memory ? "it needs more memory than this browser gives; give a smaller picture" : error.message || error;
      port.postMessage({ id: data.id, error: String(message) });
    }
  };
}
