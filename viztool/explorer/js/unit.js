// The unit: its map, its field, its value, and the sum that made it.

let sum = null;

function show(place) {
  const moved = place.which !== state.which || !state.photo;
  const same = !moved && place.layer === state.layer && place.channel === state.channel && place.row === state.row && place.column === state.column;
  Object.assign(state, place, { photo: head.photos[place.which] });
  if (!same) state.listed = LISTED;
  if (moved) showPhoto();
  markTile();
  if (byId("heat").checked) paintPhoto();
  showUnit();
}

function showUnit() {
  const layer = current(), { channel, row, column } = state;
  const values = arrays.get(layer.maps), value = values[(channel * layer.h + row) * layer.w + column];
  const box = fieldOf(layer, row, column);
  Object.assign(byId("unit").dataset, { layer: layer.name, channel, row, column, value: String(value) });
  byId("name").textContent = `${layer.name || "the network"} · channel ${channel}`;
  byId("value").textContent = said(value, 6);
  byId("facts").textContent = facts(layer);
  const map = byId("map");
  drawMap(map, values, channel * layer.h * layer.w, layer.h, layer.w, limitOf(layer, channel));
  map.style.aspectRatio = `${layer.w} / ${Math.max(layer.h, layer.w / 12)}`;
  map.setAttribute("aria-label", `Map of channel ${channel}; the unit at row ${row}, column ${column} is ${said(value)}`);
  markUnit(map, layer, row, column);
  const limit = said(limitOf(layer, channel), 3);
  byId("bar").textContent = `Blue −${limit}, white 0, red ${limit}.${head.rounded ? " Maps are in 256 steps here." : ""}`;
  placeBox(byId("field"), box);
  Object.assign(byId("field").dataset, { top: box[0], left: box[1], bottom: box[2], right: box[3] });
  byId("sees").textContent = seesWords(layer, box);
  cropField(box);
  showBeside(layer);
  showSum(layer);
  showFlows(layer);
  showConcepts();
  showWorld(layer);
  byId("live").textContent = `${layer.name} channel ${channel}, row ${row}, column ${column}: ${said(value)}`;
}

function facts(layer) {
  const [channels] = layer.shape, statistics = arrays.get(layer.statistics), { channel } = state;
  const [low, high, mean, spread] = [0, 1, 2, 3].map(at => said(statistics[at * channels + channel], 3));
  const place = layer.flat ? "" : `Row ${state.row}, column ${state.column} of ${layer.h} × ${layer.w}. `;
  const times = layer.calls > 1 ? ` The layer ran ${layer.calls} times; this is the last.` : "";
  return `${place}The channel goes from ${low} to ${high}, mean ${mean}, σ ${spread}.${times}`;
}

function seesWords(layer, [top, left, bottom, right]) {
  const [h, w] = head.size;
  const what = `rows ${top} to ${bottom - 1}, columns ${left} to ${right - 1} of ${h} × ${w} pixels`;
  if (!layer.field) return layer.flat ? "This layer has no places: a unit may see everything." : "What a unit sees is not known here; it may be everything.";
  if (layer.field.everything) return "The unit sees everything.";
  return `The unit sees ${what}${layer.field.context ? ", and everything beside, pooled" : ""}.`;
}

// The chosen unit, framed on its own map: on a canvas, whose cells may be smaller than a pixel of the screen.
function markUnit(canvas, layer, row, column) {
  const scale = Math.max(1, Math.ceil(300 / Math.max(layer.w, layer.h)));
  const cells = document.createElement("canvas");
  cells.width = canvas.width;
  cells.height = canvas.height;
  cells.getContext("2d").drawImage(canvas, 0, 0);
  canvas.width = layer.w * scale;
  canvas.height = layer.h * scale;
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(cells, 0, 0, canvas.width, canvas.height);
  const at = [column * scale, row * scale];
  const size = Math.max(scale, 8), offset = (size - scale) / 2;
  context.lineWidth = 4;
  context.strokeStyle = "#000";
  context.strokeRect(at[0] - offset, at[1] - offset, size, size);
  context.lineWidth = 2;
  context.strokeStyle = "#ffb300";
  context.strokeRect(at[0] - offset, at[1] - offset, size, size);
}

function cropField([top, left, bottom, right]) {
  const canvas = byId("crop");
  canvas.width = right - left;
  canvas.height = bottom - top;
  const whole = byId("whole") || photoCanvas(state.photo);
  canvas.getContext("2d").drawImage(whole, -left, -top);
  canvas.style.imageRendering = right - left < 80 ? "pixelated" : "auto";
  canvas.setAttribute("aria-label", `The ${bottom - top} × ${right - left} pixels that the unit sees`);
}

function showBeside(layer) {
  const host = byId("beside");
  host.replaceChildren();
  if (head.photos.length < 2) return;
  const { channel, row, column } = state, from = channel * layer.h * layer.w;
  const all = head.photos.map(photo => photo.layers[state.layer]);
  const limit = Math.max(...all.map(each => each.limits[channel]));
  all.forEach((each, which) => {
    const figure = element("figure"), canvas = document.createElement("canvas");
    const values = arrays.get(each.maps);
    drawMap(canvas, values, from, each.h, each.w, limit);
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `The same channel on ${head.photos[which].source}`);
    figure.append(canvas, element("figcaption", `${head.photos[which].source}: ${said(values[from + row * each.w + column])}`));
    host.append(figure);
  });
}

function showSum(layer) {
  sum = sumOf(layer, state.channel, state.row, state.column);
  const host = byId("sum"), body = byId("terms");
  body.replaceChildren();
  host.hidden = !sum;
  if (!sum) {
    for (const key of ["total", "bias", "rest"]) delete host.dataset[key];
    return;
  }
  const listed = sum.terms.slice(0, state.listed);
  const rest = sum.total - sum.bias - listed.reduce((total, each) => total + each.term, 0);
  Object.assign(host.dataset, { total: String(sum.total), bias: String(sum.bias), rest: String(rest) });
  const value = +byId("unit").dataset.value;
  const left = sum.terms.length - listed.length + sum.unknown;
  const parts = [
    `bias ${said(sum.bias)}`,
    `${listed.length} term${listed.length === 1 ? "" : "s"} ${said(sum.total - sum.bias - rest)}`,
    left ? `${left} weaker ${said(rest)}` : `rounding ${said(rest, 2)}`,
  ];
  byId("equation").textContent = `${parts.join(" + ").replaceAll("+ −", "− ")} = ${said(sum.total, 6)}`
    + (sum.activation ? ` → ${sum.activation} → ${said(value, 6)}` : "");
  byId("kernel-note").textContent = sumWords(layer);
  byId("times").textContent = sum.terms.some(each => each.product && each.downs.length * each.acrosses.length > 1) ? "kernel × patch" : "weight × input";
  const largest = Math.abs(listed[0]?.term || 0);
  body.append(...listed.map((term, rank) => termRow(term, rank, largest)));
  byId("more").hidden = listed.length === sum.terms.length;
  byId("more").textContent = sum.unknown ? `List the ${sum.terms.length} strongest terms` : `List all ${sum.terms.length} terms`;
}

const WITHIN = {
  "": "",
  norms: " Norms that follow are in the kernels and the bias.",
  scale: " A scale that follows is in the kernels and the bias.",
};

function sumWords(layer) {
  const { products, operands } = layer.sum;
  if (!products.length && operands.length === 1 && operands[0].maps === "own") {
    return `No sum is known here: ${operands[0].words} gives the value as it is.`;
  }
  const kernels = products.map(each => {
    const [, , kh, kw] = each.shape, stride = each.stride.join(" × ");
    const kind = each.transposed ? "transposed kernels" : "kernels";
    return `${kind} of ${kh} × ${kw} (stride ${stride}${each.dilation.join() === "1,1" ? "" : `, dilation ${each.dilation.join(" × ")}`}) on ${each.words}`;
  });
  const large = products.filter(each => each.strongest);
  const left = large.map(each => ` The kernels on ${each.words} are too large for a page: of each unit there are the strongest ${each.strongest.count} of ${fanOf(each)} terms, and the sum of the others.`);
  return `Adds up: ${[...kernels, ...operands.map(each => `${each.words} as it is`)].join("; ")}.${WITHIN[layer.sum.within]}${left.join("")}`;
}

function termRow(each, rank, largest) {
  const row = element("tr", "", { class: each.term < 0 ? "minus" : "plus" });
  row.dataset.term = String(each.term);
  const part = each.product || each.operand, on = part.layer !== null;
  const from = element("td"), words = part.words;
  if (on) {
    const link = element("button", words || "the network", { type: "button", title: "Go there" });
    link.addEventListener("click", () => follow(rank));
    from.append(link);
  } else {
    from.textContent = words;
    if (words !== "the input" && words !== "constants") from.title = `Not on this page; viztool explore -l ${words} shows it`;
  }
  const picture = element("td"), name = words === "the input" && each.product.size[0] === 3 ? ["red", "green", "blue"][each.channel] : `${each.channel}`;
  const thumbnail = termPicture(each);
  if (thumbnail) picture.append(thumbnail, " ");
  picture.append(name);
  const bar = element("progress", "", { max: "1", value: largest ? Math.abs(each.term) / largest : 0, "aria-label": `share of the largest term: ${said(each.term, 3)}` });
  const size = element("td");
  size.append(bar);
  row.append(from, picture, timesCell(each), element("td", said(each.term), { class: "number" }), size);
  return row;
}

// The channel that the term comes from, around the place that it was taken at.
function termPicture(each) {
  const size = each.product ? each.product.size : current().shape;
  const values = each.product ? givenOf(each.product) : operandMaps(each.operand);
  if (!values || size[1] * size[2] === 1) return null;
  if (!thumbnails.has(values)) thumbnails.set(values, new Map());
  const known = thumbnails.get(values);
  if (!known.has(each.channel)) known.set(each.channel, thumbnail(values, size, each.channel));
  return known.get(each.channel);
}

const thumbnails = new Map();

function thumbnail(values, [, h, w], channel) {
  const canvas = document.createElement("canvas"), from = channel * h * w;
  let limit = 0;
  for (let i = 0; i < h * w; i++) limit = Math.max(limit, Math.abs(values[from + i]));
  drawMap(canvas, values, from, h, w, limit);
  canvas.setAttribute("aria-hidden", "true");
  return canvas;
}

function operandMaps(operand) {
  if (operand.layer !== null) return arrays.get(state.photo.layers[operand.layer].maps);
  return typeof operand.maps === "object" && operand.maps ? arrays.get(operand.maps) : null;
}

function timesCell(each) {
  const cell = element("td");
  if (!each.product) {
    cell.textContent = "as it is";
    return cell;
  }
  const { product, kernel, downs, acrosses } = each;
  const [, , kh, kw] = product.shape, [, h, w] = product.size;
  const weight = product.weight && arrays.get(product.weight), given = givenOf(product);
  if (kh * kw === 1) {
    const value = downs.length && acrosses.length ? given[(each.channel * h + downs[0][1]) * w + acrosses[0][1]] : 0;
    cell.textContent = weight ? `${said(weight[kernel])} × ${said(value)}` : `its weight × ${said(value)}`;
    return cell;
  }
  const patch = new Float32Array(kh * kw);
  for (const [i, y] of downs) for (const [j, x] of acrosses) patch[i * kw + j] = given[(each.channel * h + y) * w + x];
  const own = weight && weight.subarray(kernel, kernel + kh * kw);
  const pair = element("span", own ? "" : "its kernel × ", { class: "pair" });
  for (const [values, what] of own ? [[own, "kernel"], [patch, "patch"]] : [[patch, "patch"]]) {
    const canvas = document.createElement("canvas");
    drawMap(canvas, values, 0, kh, kw, values.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
    const text = `${what}: ${Array.from({ length: kh }, (_, i) => Array.from(values.slice(i * kw, i * kw + kw), value => said(value, 3)).join(" ")).join(" / ")}`;
    canvas.title = text;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", kh * kw <= 25 ? text : what);
    pair.append(canvas, what === "kernel" ? " × " : "");
  }
  cell.append(pair);
  return cell;
}

// Go where a listed term comes from.
function follow(rank) {
  const each = sum && sum.terms.slice(0, state.listed)[rank];
  const part = each && (each.product || each.operand);
  if (!part || part.layer === null) return;
  go({ layer: part.layer, channel: each.channel, row: each.row, column: each.column });
}
