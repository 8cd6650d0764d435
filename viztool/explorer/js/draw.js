// Numbers to colours: white is zero, red is positive, blue is negative; and words.

let signedColours, heatColours;

function readColours() {
  const pack = table => Uint32Array.from({ length: table.length / 3 },
    (_, i) => (255 << 24) | (table[3 * i + 2] << 16) | (table[3 * i + 1] << 8) | table[3 * i]);
  signedColours = pack(arrays.get(head.colours.signed));
  heatColours = arrays.get(head.colours.heat);
}

const NOT_FINITE = (255 << 24) | (210 << 16) | (160 << 8) | 196;

function drawMap(canvas, values, from, h, w, limit) {
  canvas.width = w;
  canvas.height = h;
  const image = new ImageData(w, h), pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < h * w; i++) {
    const value = values[from + i];
    const share = limit > 0 ? Math.max(-1, Math.min(1, value / limit)) : 0;
    pixels[i] = Number.isFinite(value) ? signedColours[Math.round(255 + 255 * share)] : NOT_FINITE;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function drawHeat(context, cam, h, w, width, height) {
  const small = document.createElement("canvas");
  small.width = w;
  small.height = h;
  const image = new ImageData(w, h);
  for (let i = 0; i < h * w; i++) {
    const at = Math.round(255 * Math.max(0, Math.min(1, cam[i]))) * 3;
    image.data.set([heatColours[at], heatColours[at + 1], heatColours[at + 2], 255 * (0.35 + 0.35 * cam[i])], 4 * i);
  }
  small.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = true;
  context.drawImage(small, 0, 0, width, height);
}

function drawPhoto(canvas, photo) {
  const [h, w] = head.size, bytes = arrays.get(photo.view), image = new ImageData(w, h);
  for (let i = 0; i < h * w; i++) {
    image.data[4 * i] = bytes[3 * i];
    image.data[4 * i + 1] = bytes[3 * i + 1];
    image.data[4 * i + 2] = bytes[3 * i + 2];
    image.data[4 * i + 3] = 255;
  }
  canvas.width = w;
  canvas.height = h;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function said(number, digits = 4) {
  if (!Number.isFinite(number)) return String(number);
  const text = number !== 0 && (Math.abs(number) < 1e-3 || Math.abs(number) >= 1e5)
    ? number.toExponential(digits - 2) : String(+number.toPrecision(digits));
  return text.replaceAll("-", "−");
}

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const byId = id => document.getElementById(id);
