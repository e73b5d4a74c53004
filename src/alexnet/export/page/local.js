"use strict";

// Answers computed on this device: the page's side of engine.js.
const READY = "Ready. Nothing leaves this device.";
const EXPLAINS = true; // answers come with maps of where the picture speaks for a class
const waiting = new Map(); // id -> {answer, heat}: what is called with them
let asked = 0;
let port = null;

// A worker from a Blob keeps the page responsive; where a browser forbids it to files, the page computes itself.
function connect() {
  if (!readsTrue()) return Promise.reject(new Error(ALTERED));
  return new Promise((resolve, reject) => {
    const builds = Object.fromEntries(card.builds.map((name) => [name, textOf(`engine-${name}`)]));
    const start = { ...card.engine, builds, model: textOf("model") };
    const listen = (to) => {
      port = to;
      port.onmessage = ({ data }) => {
        if (data.ready) resolve(data.build);
        else if (data.failed) reject(new Error(data.failed));
        else hear(data);
      };
      port.postMessage(start);
    };
    const here = () => {
      const channel = new MessageChannel();
      engine(channel.port1);
      listen(channel.port2);
    };
    try {
      const url = URL.createObjectURL(new Blob([`(${engine})(self)`], { type: "text/javascript" }));
      const worker = new Worker(url);
      worker.onerror = (event) => {
        event.preventDefault();
        worker.terminate();
        here();
      };
      listen(worker);
    } catch {
      here();
    }
  });
}

function hear({ id, answer, heat, error }) {
  const request = waiting.get(id);
  if (!request) return;
  if (error) request.reject(new Error(error));
  if (answer) request.resolve(answer);
  if (heat) request.heat(heat);
  if (error || heat) waiting.delete(id);
}

function drawn(bitmap) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// A picture's answer: {probabilities, best, unknown, seen, milliseconds, blank}; `heat` is called with its maps later.
async function ask(source, heat = () => {}) {
  await whenReady;
  const trouble = source instanceof Blob ? troubleOf(new Uint8Array(await source.arrayBuffer())) : null;
  if (trouble) throw new Error(trouble);
  const bitmap = await bitmapOf(source), id = ++asked;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject, heat });
    if (typeof OffscreenCanvas !== "undefined") return port.postMessage({ id, bitmap }, [bitmap]);
    const { data, width, height } = drawn(bitmap);
    port.postMessage({ id, pixels: data, width, height }, [data.buffer]);
  });
}
