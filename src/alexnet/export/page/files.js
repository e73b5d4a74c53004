"use strict";

// What browsers pass over in silence: files that break off, which they show in part, and turned WebP files, which they
// do not turn.

const textAt = (bytes, at, text) => [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));

// JPEG: markers up to a scan, its data up to the next marker that is no restart, and so on to the end of the image.
function jpegBreaksOff(bytes) {
  let at = 2;
  while (at + 4 <= bytes.length) {
    if (bytes[at] !== 0xff || bytes[at + 1] === 0xff) at++;
    else if (bytes[at + 1] === 0xd9) return false;
    else if (bytes[at + 1] === 0 || (bytes[at + 1] >= 0xd0 && bytes[at + 1] <= 0xd7) || bytes[at + 1] === 1) at += 2;
    else at += 2 + bytes[at + 2] * 256 + bytes[at + 3];
    at = bytes.indexOf(0xff, at);
    if (at < 0) return true;
  }
  return !(bytes[at] === 0xff && bytes[at + 1] === 0xd9);
}

function pngBreaksOff(bytes, view) {
  for (let at = 8; at + 12 <= bytes.length; at += 12 + view.getUint32(at)) if (textAt(bytes, at + 4, "IEND")) return false;
  return true;
}

// The orientation, 1 to 8, of EXIF data in a WebP file; 1 where there is none.
function webpOrientation(bytes, view) {
  let at = 12;
  while (at + 8 <= bytes.length && !textAt(bytes, at, "EXIF")) at += 8 + view.getUint32(at + 4, true) + (view.getUint32(at + 4, true) & 1);
  if (at + 8 > bytes.length) return 1;
  const start = at + 8 + (textAt(bytes, at + 8, "Exif") ? 6 : 0), little = bytes[start] === 0x49;
  const list = start + view.getUint32(start + 4, little), count = view.getUint16(list, little);
  for (let i = 0; i < count; i++)
    if (view.getUint16(list + 2 + 12 * i, little) === 0x112) return view.getUint16(list + 10 + 12 * i, little);
  return 1;
}

// Why a file would be answered wrongly, or null. Damaged headers are left to the browser's decoder.
function troubleOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length), cut = "it is truncated; take a fresh copy";
  try {
    if (bytes[0] === 0xff && bytes[1] === 0xd8) return jpegBreaksOff(bytes) ? cut : null;
    if (textAt(bytes, 1, "PNG")) return pngBreaksOff(bytes, view) ? cut : null;
    if (!textAt(bytes, 0, "RIFF") || !textAt(bytes, 8, "WEBP")) return null;
    if (view.getUint32(4, true) + 8 > bytes.length) return cut;
    const turned = webpOrientation(bytes, view) !== 1;
    return turned ? "a WebP file that is to be turned, which browsers do not; save it upright, or as JPEG" : null;
  } catch {
    return null;
  }
}
