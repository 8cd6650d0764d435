"use strict";
(() => {
const byId = id => document.getElementById(id);
const LINES = ["#2166ac", "#c46a1c", "#267954", "#7a48a0", "#b2223a", "#464e56"];
let head, numbers;

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function drawn(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function said(number, digits = 3) {
  if (number === null || number === undefined || Number.isNaN(number)) return "no number";
  if (!Number.isFinite(number)) return number > 0 ? "∞" : "−∞";
  const small = number !== 0 && (Math.abs(number) < 1e-3 || Math.abs(number) >= 1e6);
  const text = small ? number.toExponential(digits - 1) : (+number.toPrecision(digits)).toLocaleString("en");
  return text.replaceAll("-", "−");
}

async function unpack(text) {
  const packed = Uint8Array.from(atob(text.trim()), letter => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  const length = new DataView(bytes.buffer).getUint32(0, true);
  head = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  numbers = new Float32Array(bytes.buffer, 4 + length);
}

const nameOf = run => run.about.log || run.about.network || "run";
const shownLayer = key => key === "" ? "the network itself" : key.replace("#", ", call ");

// The layers of all runs, (name, kind), in the order of the first that has each.
let everyLayer = [];

// Of a layer, one number for each sample; null if the run has none.
function series(run, quantity, name) {
  const layer = run.layers.findIndex(([other]) => other === name);
  if (layer < 0 || !(quantity in run.values)) return null;
  const count = run.steps.length, from = run.values[quantity] + layer * count;
  return numbers.subarray(from, from + count);
}

function findings() {
  const place = byId("findings");
  for (const run of head.runs) {
    const all = run.findings, several = head.runs.length > 1 ? `${nameOf(run)}: ` : "";
    const verdict = all.length ? `${all.length} finding${all.length > 1 ? "s" : ""} at step ${said(run.steps.at(-1), 9)}` : `No findings at step ${said(run.steps.at(-1), 9)}`;
    place.append(element("p", several + verdict, { class: `verdict ${all.length ? "bad" : "good"}` }));
    for (const each of all) {
      const card = element("article", "", { "data-finding": "", "data-kind": each.kind, "data-layer": each.layer, "data-since": each.since_step });
      const line = element("div", "", { class: "kind" });
      const button = element("button", shownLayer(each.layer), { type: "button" });
      button.addEventListener("click", () => { choose(each.layer); byId("layer").scrollIntoView(); });
      line.append(`${each.kind} in `, button, ` since step ${said(each.since_step, 9)}`);
      const evidence = each.evidence.charAt(0).toUpperCase() + each.evidence.slice(1);
      card.append(line, element("p", `${evidence}.`, { class: "evidence" }), element("p", `What to do: ${each.advice}`, { class: "advice" }));
      place.append(card);
    }
    const gone = run.spans.filter(span => span.until !== null);
    for (const span of gone) byId("gone").append(element("li", `${several}${span.kind} in ${shownLayer(span.layer)}, steps ${span.since} to ${span.until}: ${span.evidence}`));
    if (gone.length) byId("healed").hidden = false;
  }
}

function spanOf(quantity) {
  const about = head.quantities[quantity];
  if (about.range) return about.range;
  let low = Infinity, high = -Infinity;
  for (const run of head.runs) {
    if (!(quantity in run.values)) continue;
    const from = run.values[quantity], count = run.layers.length * run.steps.length;
    for (let i = from; i < from + count; i++) {
      const value = about.signed ? Math.abs(numbers[i]) : numbers[i];
      if (!Number.isFinite(value) || (about.log && value <= 0)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  if (!(low <= high)) return [0, 1];
  if (about.signed) return [-high, high];
  return about.log ? [Math.max(low, high * 1e-9), high] : [low, high];
}

function shareOf(value, [low, high], log) {
  if (log) {
    if (value <= 0) return 0;
    return high > low ? Math.log(value / low) / Math.log(high / low) : 0.5;
  }
  return high > low ? (value - low) / (high - low) : 0.5;
}

const coloursOf = about => head.colours[about.range ? "range" : about.signed ? "signed" : "log"];

function paint(canvas, width, height, valueAt, about, span) {
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height), table = coloursOf(about);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const value = valueAt(x, y), at = 4 * (y * width + x);
    if (Number.isNaN(value)) { image.data.set([236, 238, 240, 255], at); continue; }
    const step = 3 * Math.round(63 * Math.max(0, Math.min(1, shareOf(value, span, about.log))));
    image.data.set([table[step], table[step + 1], table[step + 2], 255], at);
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function heatmap(quantity) {
  const about = head.quantities[quantity], span = spanOf(quantity);
  const place = element("div", "", { class: "map", "data-quantity": quantity }), top = element("header");
  const scale = element("span", "", { class: "scale" }), bar = element("canvas");
  paint(bar, 64, 1, x => about.log ? span[0] * (span[1] / span[0]) ** (x / 63) : span[0] + (span[1] - span[0]) * x / 63, about, span);
  scale.append(said(span[0], 2), bar, said(span[1], 2));
  top.append(element("h3", about.title), scale, element("span", about.says, { class: "quiet" }));
  const known = (run, name) => (series(run, quantity, name) || []).some(value => !Number.isNaN(value));
  const used = everyLayer.filter(([name]) => head.runs.some(run => known(run, name)));
  const high = Math.max(3, Math.min(16, Math.round(520 / used.length)));
  const names = element("div", "", { class: "names" });
  const found = new Set(head.runs.flatMap(run => run.findings.map(each => each.layer)));
  const every = Math.ceil(13 / high);
  used.forEach(([key], row) => {
    const name = element("div", row % every === 0 || found.has(key.split("#")[0]) ? shownLayer(key) : "", { title: key });
    name.style.height = `${high}px`;
    name.style.lineHeight = `${high}px`;
    if (found.has(key.split("#")[0])) name.dataset.found = "";
    name.addEventListener("click", () => choose(key));
    names.append(name);
  });
  const runs = element("div", "", { class: "runs" });
  for (const run of head.runs) {
    if (!(quantity in run.values)) continue;
    const figure = element("figure"), canvas = element("canvas", "", { role: "img", "aria-label": `${about.title} of ${used.length} layers over ${run.steps.length} samples` });
    const rows = used.map(([key]) => series(run, quantity, key));
    paint(canvas, run.steps.length, used.length, (x, y) => rows[y] ? rows[y][x] : NaN, about, span);
    canvas.style.height = `${high * used.length}px`;
    const cell = event => {
      const box = canvas.getBoundingClientRect();
      const inside = (at, from, size, count) => Math.max(0, Math.min(count - 1, Math.floor((at - from) / size * count)));
      return [inside(event.clientX, box.left, box.width, run.steps.length), inside(event.clientY, box.top, box.height, used.length)];
    };
    canvas.addEventListener("pointermove", event => {
      const [x, y] = cell(event);
      byId("hover").textContent = `${about.title} of ${shownLayer(used[y][0])} (${used[y][1]}) at step ${said(run.steps[x], 9)}: ${said(rows[y] ? rows[y][x] : NaN, 4)} ${about.unit}`;
    });
    canvas.addEventListener("click", event => choose(used[cell(event)[1]][0]));
    const axis = element("figcaption");
    axis.append(element("span", `step ${said(run.steps[0], 9)}`), element("span", head.runs.length > 1 ? nameOf(run) : ""), element("span", `step ${said(run.steps.at(-1), 9)}`));
    figure.append(canvas, axis);
    runs.append(figure);
  }
  place.append(top, names, runs);
  return place;
}

// Curves of one quantity, one for each run. lines: [steps, values, colour, name].
function plot(title, lines, log, range) {
  const width = 300, height = 130, left = 44, bottom = 16, up = 6;
  log = log && lines.some(([, values]) => values.some(value => value > 0));  // a learning rate of 0 is a line, too
  const good = lines.flatMap(([, values]) => [...values].filter(value => Number.isFinite(value) && (!log || value > 0)));
  const figure = element("figure", "", { "data-plot": title });
  figure.append(element("h3", title));
  if (!good.length) { figure.append(element("p", "no number", { class: "quiet" })); return figure; }
  let low = range ? range[0] : good.reduce((a, b) => Math.min(a, b)), high = range ? range[1] : good.reduce((a, b) => Math.max(a, b));
  if (log && high / low < 1.5) { low /= 2; high *= 2; }
  if (!log && high <= low) { low -= Math.abs(low) / 2 || 0.5; high += Math.abs(high) / 2 || 0.5; }
  if (log) low = Math.max(low, high * 1e-12);
  const first = Math.min(...lines.map(([steps]) => steps[0])), last = Math.max(first + 1, ...lines.map(([steps]) => steps.at(-1)));
  const x = step => left + (step - first) / (last - first) * (width - left - 6);
  const y = value => up + (1 - shareOf(value, [low, high], log)) * (height - up - bottom);
  const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  const marks = [low, log ? Math.sqrt(low * high) : (low + high) / 2, high];
  const digits = [2, 3, 4].find(count => new Set(marks.map(value => said(value, count))).size === 3) || 5;
  for (const value of marks) {
    svg.append(drawn("line", { x1: left, x2: width - 6, y1: y(value), y2: y(value) }));
    const label = drawn("text", { x: left - 4, y: y(value) + 3, "text-anchor": "end" });
    label.textContent = said(value, digits);
    svg.append(label);
  }
  for (const [step, anchor] of [[first, "start"], [last, "end"]]) {
    const label = drawn("text", { x: x(step), y: height - 3, "text-anchor": anchor });
    label.textContent = said(step, 9);
    svg.append(label);
  }
  for (const [steps, values, colour, name] of lines) {
    let path = "", pen = false;
    values.forEach((value, at) => {
      const there = Number.isFinite(value) && value !== null && (!log || value > 0);
      if (there) path += `${pen ? "L" : "M"}${x(steps[at]).toFixed(1)},${y(value).toFixed(1)}`;
      pen = there;
    });
    const line = drawn("path", { d: path || "M0,0", stroke: colour }), tip = drawn("title", {});
    tip.textContent = name;
    line.append(tip);
    svg.append(line);
  }
  figure.append(svg);
  return figure;
}

function network() {
  const kinds = [...new Set(head.runs.flatMap(run => Object.keys(run.network)))].filter(name => !["forwards", "images", "input not finite", "noise", "signal"].includes(name));
  kinds.sort((one, other) => (other === "loss") - (one === "loss"));
  for (const name of kinds) {
    const lines = head.runs.map((run, at) => [run.steps, run.network[name] || [], LINES[at % LINES.length], nameOf(run)]);
    byId("plots").append(plot(name, lines, name === "loss" || /^(lr|update) of/.test(name)));
  }
  if (head.runs.length > 1) {
    const key = element("p", "");
    head.runs.forEach((run, at) => { const name = element("b", `${nameOf(run)}  `); name.style.color = LINES[at % LINES.length]; key.append(name); });
    byId("plots").before(key);
  }
}

function choose(key) {
  const chosen = everyLayer.find(([name]) => name === key) || everyLayer.find(([name]) => name.split("#")[0] === key) || everyLayer[0];
  if (!chosen) return;
  byId("choose").value = chosen[0];
  byId("layer-name").textContent = `${shownLayer(chosen[0])} (${chosen[1]})`;
  byId("curves").replaceChildren();
  for (const [quantity, about] of Object.entries(head.quantities)) {
    const lines = [];
    head.runs.forEach((run, at) => {
      const values = series(run, quantity, chosen[0]);
      if (values && values.some(value => !Number.isNaN(value))) lines.push([run.steps, values, LINES[at % LINES.length], nameOf(run)]);
    });
    if (lines.length) byId("curves").append(plot(about.title, lines, about.log, about.range));
  }
}

async function start() {
  await unpack(byId("payload").textContent);
  byId("payload").remove();
  everyLayer = [...new Map(head.runs.flatMap(run => run.layers).map(layer => [layer[0], layer])).values()];
  byId("about").textContent = head.runs.map(run => `${head.runs.length > 1 ? `${nameOf(run)}: ` : ""}${run.about.optimizer || ""}, ${said(run.about.parameters ?? NaN, 9)} parameters, ${said(run.samples, 9)} samples, one every ${run.about.every} steps`).join(" · ");
  findings();
  network();
  for (const quantity of new Set([...head.first, ...Object.keys(head.quantities)])) if (head.runs.some(run => quantity in run.values)) byId("maps").append(heatmap(quantity));
  byId("choose").append(...everyLayer.map(([name]) => element("option", shownLayer(name), { value: name })));
  byId("choose").addEventListener("change", event => choose(event.target.value));
  choose(head.runs[0].findings.length ? head.runs[0].findings[0].layer : (everyLayer[0] || [""])[0]);
  const versions = head.runs[0].about.versions || {};
  byId("made").textContent = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(" · ");
  document.body.dataset.ready = "true";
}

start().catch(error => {
  byId("trouble").hidden = false;
  byId("trouble").textContent = `The page cannot be shown: ${error.message}. It needs a browser of 2023 or later.`;
  throw error;
});
})();
