"use strict";

// Answers of the server that the page came from. A file is sent as it is: the server decodes it, as in training.
const READY = "Ready. Photos go to this server, which keeps none.";
const EXPLAINS = false;
const TOP = 5, TRIES = 5;

const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
const seconds = (response) => Math.min(Number(response.headers.get("Retry-After")) || 1, 10);

async function connect() {
  for (;;) {
    const response = await fetch("readyz", { cache: "no-store" }).catch(() => null);
    if (response?.ok) return "server";
    if (response && response.status !== 503) throw new Error(`the server answers ${response.status}`);
    await pause(1);
  }
}

// A server whose queue is full says when to ask again.
async function answerTo(body) {
  const type = body.type.startsWith("image/") ? body.type : "application/octet-stream";
  for (let left = TRIES; ; left--) {
    const response = await fetch(`predict?top=${TOP}`, { method: "POST", body, headers: { "Content-Type": type } }).catch(() => null);
    if (!response) throw new Error("the server does not answer; is it still running?");
    if (response.ok) return response.json();
    if (response.status !== 503 || !left) throw new Error((await response.json().catch(() => null))?.detail ?? `the server answers ${response.status}`);
    await pause(seconds(response));
  }
}

// A camera's picture as a JPEG file.
function fileOf(source) {
  if (!readsTrue()) throw new Error(ALTERED);
  const width = source.videoWidth ?? source.width, height = source.videoHeight ?? source.height;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").drawImage(source, 0, 0);
  return new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the camera gives no picture yet"))), "image/jpeg", 0.95));
}

// The square that is shown, RGBA; null for files that the server reads and this browser does not.
async function previewOf(file) {
  const side = card.engine.input, canvas = Object.assign(document.createElement("canvas"), { width: side, height: side });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = card.fit === "pad" ? `rgb(${card.border})` : "#fff";
  context.fillRect(0, 0, side, side);
  const bitmap = await bitmapOf(file).catch(() => null);
  if (!bitmap) return null;
  const { width, height } = bitmap, least = Math.min(width, height), most = Math.max(width, height);
  if (card.fit === "warp") context.drawImage(bitmap, 0, 0, side, side);
  else {
    const scale = side / (card.fit === "pad" ? most : least), w = width * scale, h = height * scale;
    context.drawImage(bitmap, (side - w) / 2, (side - h) / 2, w, h);
  }
  bitmap.close();
  return context.getImageData(0, 0, side, side).data;
}

// A picture's answer: {best, unknown, seen, blank, note}.
async function ask(source) {
  await whenReady;
  const file = source instanceof Blob ? source : await fileOf(source);
  const { predictions, unknown_score: unknown = -1, note: told } = await answerTo(file), seen = await previewOf(file);
  const best = predictions.map(({ label, probability }) => [card.names.indexOf(label), probability]);
  const note = [told, seen ? null : "this browser cannot show the file"].filter(Boolean).join("; ");
  return { best, unknown, note, blank: Boolean(told?.includes(card.blank)), seen };
}
