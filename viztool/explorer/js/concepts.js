// The concepts of a class, at their layer: where each is in the photo, which channels it is made of, and what it is worth.

const STRONGEST = 8;

function showConcepts() {
  const host = byId("concepts"), { concepts } = head;
  host.hidden = !concepts;
  if (!concepts) return;
  const what = concepts.of ? `${concepts.of}, of ${concepts.target}` : concepts.target;
  byId("concepts-title").textContent = `Concepts of ${what}`;
  const inner = byId("concepts-inside"), layer = state.photo.layers[concepts.layer];
  inner.replaceChildren();
  if (state.layer !== concepts.layer) {
    const button = element("button", layer.name || "the network", { type: "button", id: "concepts-there" });
    button.addEventListener("click", () => toLayer(concepts.layer));
    inner.append("They are at ", button, ".");
    return;
  }
  const weights = weightsOf(state.channel);
  const chosen = state.concept ?? weights[0].concept;
  inner.append(
    element("p", `Parts that it is made of here, found in ${concepts.photos} photos; they make up ${percentOf(concepts.explained)} of the layer on these. Importance: of the variance of the class's score while all concepts come and go, the share that is gone when this one is held, ± its standard error over ${concepts.asked} photos.`, { class: "quiet" }),
    element("p", weightWords(weights), { id: "weights" }),
    cardsOf(concepts, layer, chosen),
    element("h4", `Concept ${concepts.concepts[chosen].number} is made of channels`),
    channelsOf(chosen, layer),
  );
}

// How much of a channel is in each concept, and how many channels are more in it; the largest share first.
function weightsOf(channel) {
  const { directions } = head.concepts, values = arrays.get(directions), [count, channels] = directions.shape;
  return Array.from({ length: count }, (_, concept) => {
    const own = values.subarray(concept * channels, (concept + 1) * channels), weight = own[channel];
    return { concept, weight, rank: 1 + own.reduce((before, each) => before + (Math.abs(each) > Math.abs(weight)), 0), of: channels };
  }).sort((one, other) => Math.abs(other.weight) - Math.abs(one.weight));
}

function weightWords(weights) {
  const there = weights.filter(each => each.weight !== 0).slice(0, 3);
  if (!there.length) return "This channel is in none of them.";
  const words = there.map(({ concept, weight, rank, of }) => `concept ${head.concepts.concepts[concept].number} (${said(weight, 2)}, number ${rank} of its ${of} channels)`);
  return `This channel weighs most in ${words.join(", then ")}.`;
}

function cardsOf(concepts, layer, chosen) {
  const list = element("ul", "", { class: "cards" }), maps = arrays.get(concepts.maps[state.which]), each = layer.h * layer.w;
  concepts.concepts.forEach((one, index) => {
    const item = element("li"), button = element("button", "", { type: "button", "aria-pressed": String(index === chosen) });
    const own = maps.subarray(index * each, (index + 1) * each), most = own.reduce((largest, value) => Math.max(largest, value), 0);
    const error = one.importance_error === null ? "" : ` ± ${said(one.importance_error, 2)}`;
    const share = one.maximum > 0 ? `, ${percentOf(most / one.maximum)} of the most in the photos that it was found in` : "";
    Object.assign(button.dataset, { concept: one.number, importance: one.importance, error: one.importance_error ?? "", most });
    button.append(
      overPhoto(own, layer, Math.max(most, one.maximum), `Where concept ${one.number} is in this photo`),
      element("img", "", { src: `data:image/jpeg;base64,${one.crop}`, alt: `The crop with most of concept ${one.number}` }),
      element("strong", `Concept ${one.number}`),
      element("span", `importance ${said(one.importance, 2)}${error}`),
      element("span", `here up to ${said(most, 2)}${share}`, { class: "quiet" }),
      element("span", `stability over seeds ${said(one.stability, 2)}`, { class: "quiet" }),
    );
    button.addEventListener("click", () => {
      state.concept = index;
      showConcepts();
      byId("concepts-inside").querySelectorAll("[data-concept]")[index].focus();
    });
    item.append(button);
    list.append(item);
  });
  return list;
}

function overPhoto(values, layer, limit, words) {
  const canvas = element("canvas", "", { role: "img", "aria-label": words }), context = canvas.getContext("2d"), [h, w] = head.size;
  canvas.width = w;
  canvas.height = h;
  context.filter = "grayscale(1)";
  context.drawImage(photoCanvas(state.photo), 0, 0);
  context.filter = "none";
  drawHeat(context, values.map(value => limit > 0 ? value / limit : 0), layer.h, layer.w, w, h);
  return canvas;
}

function channelsOf(concept, layer) {
  const { directions } = head.concepts, [, channels] = directions.shape;
  const own = arrays.get(directions).subarray(concept * channels, (concept + 1) * channels);
  const order = Array.from(own, (weight, channel) => ({ weight, channel })).filter(each => each.weight !== 0)
    .sort((one, other) => Math.abs(other.weight) - Math.abs(one.weight)).slice(0, STRONGEST);
  const list = element("ul", "", { class: "edges" });
  for (const { weight, channel } of order) {
    const item = element("li"), button = element("button", `${channel}: ${said(weight, 2)}`, { type: "button", "data-part": String(channel), "data-weight": String(weight) });
    if (channel === state.channel) button.setAttribute("aria-current", "true");
    button.addEventListener("click", () => {
      state.concept = concept;
      go({ channel, ...peak(layer, channel) });
    });
    item.append(button);
    list.append(item);
  }
  return list;
}

function percentOf(share) {
  return `${+(100 * share).toPrecision(2)} %`;
}
