// Start, keys, and the buttons.

function prepare() {
  for (const photo of head.photos) {
    photo.layers.forEach((layer, index) => {
      const [channels, h, w] = layer.shape, statistics = arrays.get(layer.statistics);
      Object.assign(layer, { h, w, limits: new Float32Array(channels) });
      for (let channel = 0; channel < channels; channel++) {
        const most = Math.max(Math.abs(statistics[channel]), Math.abs(statistics[channels + channel]));
        layer.limits[channel] = Number.isFinite(most) ? most : 0;
      }
      layer.limit = layer.limits.reduce((most, each) => Math.max(most, each), 0);
      layer.units = head.units[index];
    });
  }
}

function firstPlace() {
  const { layers, classes } = head.photos[0];
  let layer = layers.length - 1;
  while (layer > 0 && layers[layer].flat) layer--;
  const [channels] = layers[layer].shape;
  const by = (classes[0] && classes[0].shares[layer] && arrays.get(classes[0].shares[layer]))
    || arrays.get(layers[layer].statistics).subarray(3 * channels);
  let channel = 0;
  by.forEach((score, each) => { if (score > by[channel]) channel = each; });
  return { which: 0, layer, channel, ...peak(layers[layer], channel) };
}

function options() {
  const kinds = [["index", "by number"], ["spread", "by σ"]];
  if (head.photos.some(photo => photo.classes.length)) kinds.push(["class", "for the class"]);
  if (head.photos.some(photo => photo.layers.some(layer => layer.unusual))) kinds.push(["unusual", "by how unusual"]);
  byId("sort").append(...kinds.map(([value, text]) => element("option", text, { value })));
  byId("switch").hidden = head.photos.length < 2;
  byId("switch").append(...head.photos.map((photo, which) => {
    const button = element("button", photo.source, { type: "button" });
    button.addEventListener("click", () => go({ which }));
    return button;
  }));
}

function setScale(scale) {
  state.scale = scale;
  for (const button of document.querySelectorAll("[data-scale]")) button.setAttribute("aria-pressed", String(button.dataset.scale === scale));
  redrawTiles();
  showUnit();
}

function tell(text) {
  byId("count").textContent = text;
  setTimeout(() => { if (byId("count").textContent === text) byId("count").textContent = ""; }, 2500);
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    tell("copied");
  } catch {
    tell("the address bar has it");
  }
}

// The photo, the map and the field side by side, with their words, as a picture.
function savePng() {
  const canvas = document.createElement("canvas"), context = canvas.getContext("2d"), side = 320, gap = 20;
  canvas.width = 3 * side + 4 * gap;
  canvas.height = side + 120;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#22262b";
  context.font = "600 18px system-ui, sans-serif";
  context.fillText(`${byId("title").textContent}: ${byId("name").textContent}`, gap, 30);
  const box = fieldOf(current(), state.row, state.column), [h, w] = head.size;
  [byId("photo"), byId("map"), byId("crop")].forEach((picture, index) => {
    const share = side / Math.max(picture.width, picture.height), left = gap + index * (side + gap);
    context.imageSmoothingEnabled = index !== 1;
    context.drawImage(picture, left, 46, picture.width * share, picture.height * share);
    if (index === 0) {
      const scale = side / Math.max(h, w);
      context.strokeStyle = "#ffb300";
      context.lineWidth = 3;
      context.strokeRect(left + box[1] * scale, 46 + box[0] * scale, (box[3] - box[1]) * scale, (box[2] - box[0]) * scale);
    }
  });
  context.font = "14px system-ui, sans-serif";
  context.fillText(`${byId("facts").textContent} ${byId("sees").textContent}`, gap, side + 74);
  context.fillText(`value ${byId("value").textContent}: ${byId("equation").textContent}`, gap, side + 98);
  const link = element("a", "", { download: `${head.network}_${current().name}_${state.channel}.png`.replaceAll("/", "_"), href: canvas.toDataURL("image/png") });
  link.click();
  tell("saved");
}

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || byId("keys").open) return;
  const { target, key } = event;
  if (target.matches("input[type=search], select")) {
    if (key === "Escape") {
      byId("search").value = "";
      findTiles();
      target.blur();
    }
    return;
  }
  const move = MOVES[key];
  const layers = state.photo.layers.length;
  const actions = {
    "[": () => turnChannel(-1),
    "]": () => turnChannel(1),
    "{": () => toLayer(Math.max(0, state.layer - 1)),
    "}": () => toLayer(Math.min(layers - 1, state.layer + 1)),
    m: () => go(peak(current(), state.channel)),
    s: () => setScale({ channel: "layer", layer: "network", network: "channel" }[state.scale]),
    c: () => chooseClass(state.chosen + 1),
    w: followClass,
    h: () => { byId("heat").checked = !byId("heat").checked; paintPhoto(); },
    p: () => go({ which: (state.which + 1) % head.photos.length }),
    "/": () => byId("search").focus(),
    "?": () => byId("keys").showModal(),
    Escape: back,
  };
  if (move) go({ row: state.row + move[0], column: state.column + move[1] }, { small: true });
  else if (/^[1-9]$/.test(key)) follow(+key - 1);
  else if (actions[key]) actions[key]();
  else return;
  event.preventDefault();
}

function listen() {
  addEventListener("hashchange", readAddress);
  addEventListener("popstate", readAddress);
  addEventListener("keydown", onKey);
  for (const button of document.querySelectorAll("[data-scale]")) button.addEventListener("click", () => setScale(button.dataset.scale));
  byId("sort").addEventListener("change", sortTiles);
  byId("search").addEventListener("input", findTiles);
  byId("tools").addEventListener("submit", event => {
    event.preventDefault();
    const tile = firstFound();
    if (tile) go({ layer: tile.layer, channel: tile.channel, ...peak(state.photo.layers[tile.layer], tile.channel) });
    byId("search").blur();
  });
  byId("heat").addEventListener("change", paintPhoto);
  byId("link").addEventListener("click", copyLink);
  byId("png").addEventListener("click", savePng);
  byId("help").addEventListener("click", () => byId("keys").showModal());
  byId("more").addEventListener("click", () => { state.listed = Infinity; showUnit(); });
  byId("photo").addEventListener("click", event => {
    const { row, column } = inside(event, ...head.size);
    go(unitAt(row + 0.5, column + 0.5));
  });
  const map = byId("map"), glance = byId("glance");
  map.addEventListener("pointerdown", event => go(inside(event, current().h, current().w), { small: true }));
  map.addEventListener("pointermove", event => {
    const layer = current(), place = inside(event, layer.h, layer.w);
    if (event.buttons && (place.row !== state.row || place.column !== state.column)) go(place, { small: true });
    glance.hidden = false;
    placeBox(glance, fieldOf(layer, place.row, place.column));
    const value = arrays.get(layer.maps)[(state.channel * layer.h + place.row) * layer.w + place.column];
    byId("bar").textContent = `Row ${place.row}, column ${place.column}: ${said(value)}`;
  });
  map.addEventListener("pointerleave", () => { glance.hidden = true; });
}

async function start() {
  startTheme();
  const { head: found, bytes } = await unpack(byId("payload").textContent);
  byId("payload").remove();
  [head, arrays] = [found, new Arrays(bytes)];
  readColours();
  prepare();
  byId("about").textContent = `${head.network} · ${head.weights} · sees ${head.size.join(" × ")} pixels · ${head.preprocessing}`;
  const terms = head.digits >= 7 ? "all numbers are exact" : `terms are rounded to ${head.digits} digits, so their last figures are in what is left of the sum`;
  byId("made").textContent = `${head.made} · ${head.rounded ? "maps are in 256 steps" : "maps are exact"}, ${terms}.`;
  for (const part of document.querySelectorAll("header, main, footer")) part.hidden = false;
  const place = firstPlace();
  state.photo = head.photos[0];
  options();
  buildColumns();
  state.photo = null;
  show(place);
  readAddress();
  listen();
  document.body.dataset.ready = "true";
}

start().catch(error => {
  const trouble = byId("trouble");
  trouble.hidden = false;
  trouble.textContent = `The page cannot be shown: ${error.message}. It needs a browser of 2023 or later.`;
  throw error;
});
