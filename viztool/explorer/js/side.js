// The photo with the field, the classes, the heatmap; and what an atlas knows.

const photoCanvases = new Map();

function photoCanvas(photo) {
  if (!photoCanvases.has(photo)) {
    const canvas = document.createElement("canvas");
    drawPhoto(canvas, photo);
    photoCanvases.set(photo, canvas);
  }
  return photoCanvases.get(photo);
}

function showPhoto() {
  byId("title").textContent = `${head.network} on ${state.photo.source}`;
  for (const [index, button] of [...byId("switch").children].entries()) button.setAttribute("aria-pressed", String(index === state.which));
  state.chosen = Math.min(state.chosen, Math.max(0, state.photo.classes.length - 1));
  paintPhoto();
  showClasses();
  redrawTiles();
  if (byId("sort").value !== "index" && columns.length) sortTiles();
}

function paintPhoto() {
  const canvas = byId("photo"), [h, w] = head.size;
  canvas.width = w;
  canvas.height = h;
  const context = canvas.getContext("2d"), one = state.photo.classes[state.chosen];
  context.drawImage(photoCanvas(state.photo), 0, 0);
  const cam = byId("heat").checked && one && one.cams[state.layer];
  if (!cam) return;
  context.filter = "grayscale(1)";
  context.drawImage(photoCanvas(state.photo), 0, 0);
  context.filter = "none";
  drawHeat(context, arrays.get(cam), cam.shape[1], cam.shape[2], w, h);
}

function showClasses() {
  const host = byId("classes"), { classes, rows, unit } = state.photo;
  const many = classes.length ? classes.map(one => [one.name, one.number]) : rows;
  host.replaceChildren(...many.map(([name, number], index) => {
    const item = element("li"), button = element("button", "", { type: "button", class: "class", "aria-pressed": String(classes.length > 0 && index === state.chosen) });
    const text = unit === "probability" ? `${(100 * number).toFixed(1)} %` : said(number, 3);
    button.append(element("span", name), element("span", text));
    if (unit === "probability") button.append(element("meter", "", { min: "0", max: "1", value: String(number), "aria-label": `${name}: ${text}` }));
    button.addEventListener("click", () => chooseClass(index));
    item.append(button);
    if (classes[index] && classes[index].weights) {
      const more = element("button", "its strongest channel", { type: "button" });
      more.hidden = index !== state.chosen;
      more.addEventListener("click", () => followClass());
      item.append(more);
    }
    return item;
  }));
  byId("verdict").textContent = [classWords(), state.photo.note].filter(Boolean).join(" ");
  byId("heat-label").hidden = !classes.length;
}

// The terms of a class's score, from the last layer.
function classWords() {
  const one = state.photo.classes[state.chosen];
  if (!one || !one.weights) return "";
  const best = classTerms(one).slice(0, 3).map(each => `channel ${each.channel}: ${said(each.term, 3)}`);
  const where = one.layer === null ? "the last layer" : `the mean of ${state.photo.layers[one.layer].name}`;
  return `Score ${said(one.score)} = bias ${said(one.bias, 3)} + ${arrays.get(one.weights).length} terms of ${where}; strongest: ${best.join(", ")}.`;
}

function classTerms(one) {
  const weights = arrays.get(one.weights), given = arrays.get(one.given);
  return Array.from(weights, (weight, channel) => ({ channel, term: weight * given[channel] }))
    .sort((first, second) => Math.abs(second.term) - Math.abs(first.term));
}

function chooseClass(index) {
  if (!state.photo.classes.length) return;
  state.chosen = (index + state.photo.classes.length) % state.photo.classes.length;
  showClasses();
  paintPhoto();
  if (byId("sort").value === "class") sortTiles();
  byId("classes").children[state.chosen].firstChild.focus();
}

function followClass() {
  const one = state.photo.classes[state.chosen];
  if (!one || !one.weights || one.layer === null) return;
  const [{ channel }] = classTerms(one);
  go({ layer: one.layer, channel, ...peak(state.photo.layers[one.layer], channel) });
}

function placeBox(box, [top, left, bottom, right]) {
  const [h, w] = head.size;
  box.style.top = `${100 * top / h}%`;
  box.style.left = `${100 * left / w}%`;
  box.style.width = `${100 * (right - left) / w}%`;
  box.style.height = `${100 * (bottom - top) / h}%`;
}

// The unit of the chosen channel whose field has its middle nearest to a pixel.
function unitAt(y, x) {
  const layer = current();
  const nearest = (count, axis, at) => {
    let best = 0, least = Infinity;
    for (let unit = 0; unit < count; unit++) {
      const axes = layer.field && layer.field.axes[axis];
      let middle = (unit + 0.5) * head.size[axis] / count;
      if (axes && axes.step !== undefined) {
        const period = axes.first.length, r = unit % period;
        middle = (axes.first[r] + axes.end[r]) / 2 + ((unit - r) / period) * axes.step;
      }
      if (Math.abs(middle - at) < least) [least, best] = [Math.abs(middle - at), unit];
    }
    return best;
  };
  return { row: nearest(layer.h, 0, y), column: nearest(layer.w, 1, x) };
}

function inside(event, height, width) {
  const box = event.target.getBoundingClientRect();
  const keep = (at, count) => Math.max(0, Math.min(count - 1, Math.floor(at * count)));
  return { row: keep((event.clientY - box.top) / box.height, height), column: keep((event.clientX - box.left) / box.width, width) };
}

function showWorld(layer) {
  const host = byId("world"), known = layer.units && layer.units[state.channel];
  host.hidden = !known || !(known.optimum || known.words);
  if (host.hidden) return;
  const inner = byId("world-inside");
  inner.replaceChildren();
  if (known.optimum) inner.append(figureOf(known.optimum, "what excites it most, by gradient ascent"));
  if (known.words) inner.append(element("p", known.words, { class: "quiet" }));
  if (known.counts) {
    const value = +byId("unit").dataset.value;
    inner.append(element("p", rankWords(known.quantiles, value)));
    const canvas = element("canvas", "", { id: "histogram", role: "img", "aria-label": "How often each value occurs; the mark is this unit's" });
    inner.append(canvas);
    drawHistogram(canvas, known, value);
  }
  for (const [kind, title] of [["top", "answers most to"], ["least", "answers least to"], ["relevant", "matters most in"]]) {
    if (!known[kind] || !known[kind].length) continue;
    inner.append(element("h3", `It ${title}`));
    for (const place of known[kind]) inner.append(figureOf(place.picture, `${place.photo}: ${said(place.value, 3)}`));
  }
  if (known.overlap) inner.append(element("p", overlapWords(known.overlap), { id: "overlap", "data-same": String(known.overlap[0]), "data-of": String(known.overlap[1]) }));
}

function overlapWords([same, count]) {
  return `Of the ${count} photos that it answers most to, ${same} ${same === 1 ? "is" : "are"} among the ${count} in which it matters most for what the network says${2 * same < count ? ": it fires where it does not matter" : ""}.`;
}

// Between which quantiles of the data set a value is.
function rankWords(quantiles, value) {
  const over = quantiles.filter(each => each <= value).length, percent = share => `${+(100 * share).toFixed(1)} %`;
  if (!over) return `This unit's ${said(value)} is below all of the channel's values in the data set.`;
  if (over === quantiles.length) return `This unit's ${said(value)} is as large as any of the channel's values in the data set.`;
  return `This unit's ${said(value)} is between the ${percent(head.shares[over - 1])} and the ${percent(head.shares[over])} quantile of the channel's values in the data set.`;
}

function figureOf(picture, words) {
  const figure = element("figure");
  if (picture) figure.append(element("img", "", { src: `data:image/jpeg;base64,${picture}`, alt: words }));
  figure.append(element("figcaption", words));
  return figure;
}

function drawHistogram(canvas, { edges, counts }, value) {
  canvas.width = 520;
  canvas.height = 110;
  const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const low = edges[0], high = edges[edges.length - 1], most = Math.log1p(Math.max(...counts));
  const across = at => 520 * (at - low) / (high - low || 1);
  context.fillStyle = style.getPropertyValue("--grey");
  counts.forEach((count, bin) => {
    const height = 100 * Math.log1p(count) / (most || 1);
    context.fillRect(across(edges[bin]), 110 - height, Math.max(1, across(edges[bin + 1]) - across(edges[bin])), height);
  });
  context.fillStyle = style.getPropertyValue("--mark");
  context.fillRect(across(value) - 1.5, 0, 3, 110);
}

// What the channel is made of and what it feeds, measured on this photo; each edge leads to its other end.
function showFlows(layer) {
  const host = byId("circuit"), known = layer.units && layer.units[state.channel], flows = known && known.flows && known.flows[state.which];
  host.hidden = !flows;
  if (!flows) return;
  const inner = byId("circuit-inside");
  inner.replaceChildren();
  if (flows.relevance) {
    const { class: name, value, rank, of } = flows.relevance;
    inner.append(element("p", `Relevance for ${name}: ${said(value, 3)}, number ${rank} of ${of} channels.`, { id: "relevance", "data-value": String(value), "data-rank": String(rank) }));
  }
  for (const [kind, title] of [["inputs", "It is made of"], ["outputs", "It feeds"]]) {
    if (!flows[kind]) continue;
    inner.append(element("h4", `${title} ${flows[kind].layer}`));
    const edges = flows[kind].edges.filter(([, effect]) => effect !== 0);
    if (!edges.length) inner.append(element("p", "Nothing there: no channel alone changes a largest value.", { class: "quiet" }));
    const list = element("ul", "", { class: "edges" }), place = state.photo.layers.findIndex(each => each.name === flows[kind].layer);
    for (const [channel, effect] of edges) {
      const item = element("li"), button = element("button", `${channel}: ${effect > 0 ? "+" : ""}${said(effect, 3)}`, { type: "button", "data-edge": `${flows[kind].layer}/${channel}`, "data-effect": String(effect) });
      button.addEventListener("click", () => go({ layer: place, channel, ...peak(state.photo.layers[place], channel) }));
      item.append(button);
      list.append(item);
    }
    inner.append(list);
  }
}
