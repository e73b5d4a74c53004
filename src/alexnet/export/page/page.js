"use strict";

// What a person sees and does. `connect` and `ask` are in local.js, which computes here, or in server.js.
const find = (id) => document.getElementById(id);
const textOf = (id) => find(id).textContent.trim();
const card = JSON.parse(textOf("card"));
let whenReady = null;

const percent = (p) => (p >= 0.9995 ? "> 99.9 %" : p < 0.0005 ? "< 0.1 %" : `${(100 * p).toFixed(1)} %`);

// Some browsers alter the pixels that a page reads, against fingerprinting: every answer would be wrong.
const ALTERED = "this browser alters the pixels that pages read (protection against fingerprinting), so that answers would be wrong; allow it to this page, or open it in another browser";
function readsTrue() {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 16;
  const context = canvas.getContext("2d", { willReadFrequently: true }), drawn = context.createImageData(16, 16);
  drawn.data.forEach((_, i) => (drawn.data[i] = i % 4 === 3 ? 255 : (i * 37) % 256));
  context.putImageData(drawn, 0, 0);
  const read = context.getImageData(0, 0, 16, 16).data;
  return read.every((value, i) => value === drawn.data[i]);
}

// The pixels as they are stored, upright by the photo's orientation, without its colour profile, as in training.
async function bitmapOf(source) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
  try {
    return await createImageBitmap(source, options);
  } catch {
    throw new Error("this browser cannot read it as a picture; give a JPEG, PNG, WebP or GIF file");
  }
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const isUnknown = (answer) => answer.unknown > 1;

function sentence(answer) {
  const [label, probability] = answer.best[0];
  if (answer.blank) return "A picture of one colour: there is nothing to name.";
  if (isUnknown(answer)) return `I do not know: this looks like none of the classes (nearest: ${card.names[label]})`;
  return `${card.names[label]}, ${percent(probability)}`;
}

// Values 0..1 of the last maps over the picture, interpolated between their centres.
function paint(canvas, seen, heat) {
  const side = card.engine.input, [rows, columns] = card.engine.maps, pixels = new ImageData(seen.slice(), side, side);
  const at = (y, x) => heat[Math.min(Math.max(y, 0), rows - 1) * columns + Math.min(Math.max(x, 0), columns - 1)];
  for (let y = 0; heat && y < side; y++) {
    const v = ((y + 0.5) * rows) / side - 0.5, top = Math.floor(v), down = v - top;
    for (let x = 0; x < side; x++) {
      const u = ((x + 0.5) * columns) / side - 0.5, left = Math.floor(u), over = u - left, i = 4 * (y * side + x);
      const above = at(top, left) * (1 - over) + at(top, left + 1) * over;
      const below = at(top + 1, left) * (1 - over) + at(top + 1, left + 1) * over;
      const value = above * (1 - down) + below * down;
      // What does not count is dark and grey, what counts keeps its colours under a warm light.
      const grey = 0.3 * pixels.data[i] + 0.59 * pixels.data[i + 1] + 0.11 * pixels.data[i + 2];
      const light = [255, 140, 0];
      for (let c = 0; c < 3; c++) {
        const dim = 0.5 * grey + 0.1 * pixels.data[i + c];
        pixels.data[i + c] = dim + value * (0.8 * pixels.data[i + c] + 0.2 * light[c] - dim);
      }
    }
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// The picture, its five likeliest classes as buttons that show why, and what is said of it.
function show(box, name, answer) {
  const side = card.engine.input, canvas = element("canvas", { width: side, height: side });
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${name}: the square that the network saw`);
  if (answer.seen) paint(canvas, answer.seen, null);
  const said = element("p", { className: isUnknown(answer) || answer.blank ? "said unsure" : "said", textContent: sentence(answer) });
  const list = element("ol", { className: "bars" });
  const buttons = answer.best.map(([label, probability]) => {
    const bar = element("span", { className: "bar" });
    bar.style.width = `${100 * probability}%`;
    const texts = [element("span", { className: "label", textContent: card.names[label] }), element("span", { className: "share", textContent: percent(probability) })];
    const why = { type: "button", disabled: true, title: `Where the picture speaks for ${card.names[label]}` };
    const button = element(EXPLAINS ? "button" : "div", { className: "row", ...(EXPLAINS ? why : {}) }, bar, ...texts);
    if (EXPLAINS) button.setAttribute("aria-pressed", "false");
    list.append(element("li", {}, button));
    return button;
  });
  const why = element("p", { className: "why", textContent: EXPLAINS ? "Choose a name to see where the picture speaks for it." : answer.note ?? "" });
  box.replaceChildren(...(answer.seen ? [canvas] : []), element("div", {}, element("h3", { textContent: name }), said, list, why));
  return (maps) => buttons.forEach((button, i) => {
    button.disabled = false;
    button.onclick = () => {
      const on = button.getAttribute("aria-pressed") !== "true", label = card.names[answer.best[i][0]];
      buttons.forEach((each) => each.setAttribute("aria-pressed", String(on && each === button)));
      const none = on && !maps[i].some((value) => value > 0);
      paint(canvas, answer.seen, on && !none ? maps[i] : null);
      why.textContent = !on ? "Choose a name to see where the picture speaks for it."
        : none ? `No part of the picture speaks for ${label}.` : `Bright: where the picture speaks for ${label}.`;
      canvas.setAttribute("aria-label", on ? `${name}: ${why.textContent}` : `${name}: the square that the network saw`);
    };
  });
}

function fail(box, name, error) {
  box.replaceChildren(element("div", {}, element("h3", { textContent: name }), element("p", { className: "said wrong", textContent: error.message })));
}

function place(name) {
  find("clear").hidden = false;
  return element("li", { className: "result" }, element("p", { className: "said", textContent: `${name} …` }));
}

async function fill(box, source, name) {
  let giveHeat;
  const heat = new Promise((resolve) => (giveHeat = resolve));
  try {
    const answer = await ask(source, giveHeat), connectHeat = show(box, name, answer);
    find("news").textContent = `${name}: ${sentence(answer)}`;
    heat.then(connectHeat);
  } catch (error) {
    fail(box, name, error);
    find("news").textContent = `${name}: ${error.message}`;
  }
}

// One after the other: a phone has memory for one large photo.
let queue = Promise.resolve();
function add(sources, names) {
  const boxes = names.map(place);
  find("results").prepend(...boxes);
  sources.forEach((source, i) => (queue = queue.then(() => boxes[i].isConnected && fill(boxes[i], source, names[i]))));
}

function addFiles(list) {
  const files = [...list];
  add(files, files.map((file) => file.name || "pasted picture"));
}

const camera = { stream: null, taken: 0 };

async function watch() {
  while (camera.stream) {
    try {
      const answer = await ask(find("video"));
      if (camera.stream) find("live").textContent = sentence(answer);
    } catch {
      // The first frame is still on its way.
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function closeCamera() {
  camera.stream?.getTracks().forEach((track) => track.stop());
  camera.stream = null;
  find("finder").hidden = true;
  find("camera").setAttribute("aria-expanded", "false");
}

async function openCamera() {
  if (camera.stream) return closeCamera();
  try {
    camera.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    const reason = error.name === "NotAllowedError" ? "the browser does not let this page use it" : "none was found";
    find("news").textContent = find("trouble").textContent = `Camera: ${reason}.`;
    find("trouble").hidden = false;
    return;
  }
  find("trouble").hidden = true;
  find("finder").hidden = false;
  find("camera").setAttribute("aria-expanded", "true");
  find("video").srcObject = camera.stream;
  await find("video").play();
  watch();
}

function listen() {
  find("choose").onclick = () => find("files").click();
  find("files").onchange = ({ target }) => {
    addFiles(target.files);
    target.value = "";
  };
  find("clear").onclick = () => {
    find("results").replaceChildren();
    find("clear").hidden = true;
    find("choose").focus();
  };
  find("camera").hidden = !navigator.mediaDevices?.getUserMedia;
  find("camera").onclick = openCamera;
  find("shoot").onclick = async () => {
    const frame = await createImageBitmap(find("video"));
    add([frame], [`camera ${++camera.taken}`]);
  };
  find("stop").onclick = closeCamera;
  document.addEventListener("paste", ({ clipboardData }) => addFiles(clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("over");
  });
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!relatedTarget) document.body.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("over");
    addFiles(event.dataTransfer.files);
  });
}

function begin() {
  whenReady = connect();
  whenReady.then((build) => {
    find("state").textContent = READY;
    find("state").dataset.build = build;
    find("state").dataset.milliseconds = String(Math.round(performance.now()));
  }, (error) => {
    find("state").textContent = `This page does not work here: ${error.message}.`;
    find("state").className = "wrong";
  });
  listen();
}

begin();
// For scripts: await alexnet.ask(file) gives {probabilities, best, unknown, ...}; names in alexnet.card.names.
window.alexnet = { ask, card, ready: () => whenReady };
