// Where one is: the address's hash says it, #layer/channel/row/column, with &photo=2 behind it on a page of several.

let head, arrays;
const state = { photo: null, which: 0, layer: 0, channel: 0, row: 0, column: 0, scale: "channel", chosen: 0, concept: null, listed: LISTED };

function hashOf({ layer, channel, row, column, which }) {
  const name = encodeURIComponent(state.photo.layers[layer].name).replaceAll("%2C", ",").replaceAll("%3A", ":");
  return `#${name}/${channel}/${row}/${column}${which ? `&photo=${which + 1}` : ""}`;
}

// What a hash says, brought into what there is; null if it names no layer of the page.
function parsed(hash) {
  const [place, ...rest] = hash.replace(/^#/, "").split("&");
  const parts = place.split("/");
  if (parts.length < 4) return null;
  let name = parts.slice(0, -3).join("/");
  try { name = decodeURIComponent(name); } catch { /* as it is */ }
  const asked = rest.map(each => /^photo=(\d+)$/.exec(each)).find(Boolean);
  const which = asked ? Math.min(head.photos.length, Math.max(1, +asked[1])) - 1 : 0;
  const layer = head.photos[which].layers.findIndex(each => each.name === name);
  const numbers = parts.slice(-3).map(Number);
  if (layer < 0 || !numbers.every(Number.isInteger)) return null;
  return within({ which, layer, channel: numbers[0], row: numbers[1], column: numbers[2] });
}

function within(place) {
  const [channels, h, w] = head.photos[place.which].layers[place.layer].shape;
  const keep = (number, count) => Math.max(0, Math.min(count - 1, number));
  return { ...place, channel: keep(place.channel, channels), row: keep(place.row, h), column: keep(place.column, w) };
}

let lastMove = 0, pushed = 0;

// Go somewhere. Steps that follow one another quickly are one step back.
function go(change, { small = false } = {}) {
  const place = within({ which: state.which, layer: state.layer, channel: state.channel, row: state.row, column: state.column, ...change });
  const address = hashOf(place), now = performance.now();
  if (address !== location.hash) {
    try {
      if (small && now - lastMove < 1500) history.replaceState(null, "", address);
      else {
        history.pushState(null, "", address);
        pushed++;
      }
    } catch { /* in a notebook's frame there is no address */ }
  }
  lastMove = now;
  show(place);
}

// Never out of the page.
function back() {
  if (pushed <= 0) return;
  pushed--;
  history.back();
}

function readAddress() {
  const place = parsed(location.hash);
  if (place) show(place);
  correctAddress();
}

// What the address says is what is shown: a place that there is not is corrected in it, and no step back leads there.
function correctAddress() {
  const address = hashOf(state);
  if (address === location.hash) return;
  try { history.replaceState(null, "", address); } catch { /* in a notebook's frame there is no address */ }
}

// To another layer: the same place in the picture.
function toLayer(layer, channel) {
  const from = current(), to = state.photo.layers[layer];
  const scaled = (at, before, after) => Math.floor((at + 0.5) * after / before);
  go({
    layer,
    channel: channel ?? Math.min(state.channel, to.shape[0] - 1),
    row: scaled(state.row, from.h, to.h),
    column: scaled(state.column, from.w, to.w),
  });
}

function current() {
  return state.photo.layers[state.layer];
}

function peak(layer, channel) {
  const maps = arrays.get(layer.maps), from = channel * layer.h * layer.w;
  let best = 0;
  for (let i = 1; i < layer.h * layer.w; i++) if (maps[from + i] > maps[from + best]) best = i;
  return { row: Math.floor(best / layer.w), column: best % layer.w };
}
