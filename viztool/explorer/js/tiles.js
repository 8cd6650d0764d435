// A column for each layer, a tile for each channel; a tile is drawn when it comes into view.

let columns = [], seen;

function buildColumns() {
  seen = new IntersectionObserver(entries => {
    for (const { target, isIntersecting } of entries) {
      target.inView = isIntersecting;
      if (isIntersecting) drawTile(target);
    }
  }, { rootMargin: "120px" });
  const host = byId("columns");
  host.replaceChildren();
  columns = state.photo.layers.map((layer, index) => {
    const column = element("div", "", { class: "column" });
    const title = element("h2"), button = element("button", layer.name || "the network", { type: "button" });
    button.addEventListener("click", () => toLayer(index));
    title.append(button);
    const shape = layer.flat ? `${layer.shape[0]} numbers` : layer.shape.join(" × ");
    const grid = element("div", "", { class: "tiles", tabindex: "0", role: "group", "aria-label": `Channels of ${layer.name || "the network"}` });
    grid.addEventListener("click", event => pickTile(event, index));
    const tiles = Array.from({ length: layer.shape[0] }, (_, channel) => {
      const tile = element("button", "", { type: "button", tabindex: "-1", class: layer.flat ? "tile flat" : "tile" });
      tile.dataset.tile = `${layer.name}/${channel}`;
      tile.layer = index;
      tile.channel = channel;
      const canvas = document.createElement("canvas");
      canvas.style.setProperty("--shape", layer.w / layer.h);
      tile.append(canvas, String(channel));
      seen.observe(tile);
      return tile;
    });
    grid.append(...tiles);
    column.append(title, element("p", layer.type, { class: "quiet" }), element("p", shape, { class: "quiet" }), grid);
    host.append(column);
    return { column, grid, tiles, order: tiles };
  });
}

function limitOf(layer, channel) {
  if (state.scale === "channel") return layer.limits[channel];
  return state.scale === "layer" ? layer.limit : Math.max(...state.photo.layers.map(each => each.limit));
}

function drawTile(tile) {
  const layer = state.photo.layers[tile.layer];
  const key = `${state.which} ${state.scale}`;
  if (tile.drawn === key) return;
  tile.drawn = key;
  const from = tile.channel * layer.h * layer.w;
  drawMap(tile.firstChild, arrays.get(layer.maps), from, layer.h, layer.w, limitOf(layer, tile.channel));
}

function redrawTiles() {
  for (const { tiles } of columns) for (const tile of tiles) if (tile.inView) drawTile(tile);
}

addEventListener("beforeprint", () => columns.forEach(({ tiles }) => tiles.forEach(drawTile)));

function pickTile(event, index) {
  const tile = event.target.closest(".tile");
  if (!tile) return;
  const layer = state.photo.layers[index], box = tile.firstChild.getBoundingClientRect();
  const inside = event.detail > 0 && event.clientY < box.bottom;
  const place = inside
    ? { row: Math.floor((event.clientY - box.top) / box.height * layer.h), column: Math.floor((event.clientX - box.left) / box.width * layer.w) }
    : peak(layer, tile.channel);
  go({ layer: index, channel: tile.channel, ...place });
}

let marked = null;

function markTile() {
  if (marked) marked.removeAttribute("aria-current");
  columns.forEach((each, index) => each.column.classList.toggle("chosen", index === state.layer));
  const { grid, tiles, column } = columns[state.layer];
  marked = tiles[state.channel];
  marked.setAttribute("aria-current", "true");
  // Scrolled by hand: scrollIntoView would move the whole page.
  const top = marked.offsetTop - grid.offsetTop, host = byId("columns");
  if (top < grid.scrollTop || top + marked.offsetHeight > grid.scrollTop + grid.clientHeight) grid.scrollTop = top - grid.clientHeight / 3;
  const left = column.offsetLeft - host.offsetLeft;
  if (left < host.scrollLeft || left + column.offsetWidth > host.scrollLeft + host.clientWidth) host.scrollLeft = left;
}

function scores(layer, index) {
  const how = byId("sort").value, [channels] = layer.shape;
  const one = state.photo.classes[state.chosen];
  if (how === "spread") return arrays.get(layer.statistics).subarray(3 * channels);
  if (how === "class" && one && one.shares[index]) return arrays.get(one.shares[index]);
  if (how === "unusual" && layer.unusual) return arrays.get(layer.unusual);
  return null;
}

function sortTiles() {
  columns.forEach((each, index) => {
    const by = scores(state.photo.layers[index], index);
    each.order = by
      ? [...each.tiles].sort((one, other) => (by[other.channel] || 0) - (by[one.channel] || 0) || one.channel - other.channel)
      : each.tiles;
    each.grid.replaceChildren(...each.order);
    each.grid.scrollTop = 0;
  });
  findTiles();
}

function findTiles() {
  const words = byId("search").value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const { tiles } of columns) {
    for (const tile of tiles) {
      const name = tile.dataset.tile.toLowerCase();
      const fits = words.every(word => /^\d+$/.test(word) ? name.endsWith(`/${word}`) : name.includes(word));
      tile.hidden = !fits;
      count += fits;
    }
  }
  byId("count").textContent = words.length ? `${count} found` : "";
}

function firstFound() {
  for (const { order } of columns) for (const tile of order) if (!tile.hidden) return tile;
  return null;
}

function turnChannel(by) {
  const order = columns[state.layer].order.filter(tile => !tile.hidden);
  if (!order.length) return;
  const at = order.indexOf(columns[state.layer].tiles[state.channel]);
  go({ channel: order[(at + by + order.length) % order.length].channel }, { small: true });
}
