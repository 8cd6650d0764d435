// What adds up to a unit: bias + terms + rest = total. A term is a kernel times a patch of one channel, or a map that
// is added as it is. Of a kernel that is too large for the page there are the strongest terms of each unit; the others
// are in the rest.

const LISTED = 24;

function sumOf(layer, channel, row, column) {
  const own = layer.sum;
  const at = (channel * layer.h + row) * layer.w + column;
  const value = arrays.get(layer.maps)[at];
  if (!own) return null;
  // Where the activation function left a total as it was, it is not written a second time.
  const written = own.exact ? NaN : arrays.get(own.total)[at], total = Number.isNaN(written) ? value : written;
  const bias = arrays.get(own.bias)[channel];
  const terms = own.products.flatMap(product => termsOf(layer, product, channel, row, column));
  for (const operand of own.operands) {
    let term;
    if (operand.maps === "own") term = total;
    else if (operand.maps === "left") term = total - bias - terms.reduce((sum, each) => sum + each.term, 0);
    else term = arrays.get(operand.maps || state.photo.layers[operand.layer].maps)[at];
    terms.push({ term, operand, channel, row, column });
  }
  terms.sort((one, other) => Math.abs(other.term) - Math.abs(one.term));
  const unknown = own.products.reduce((count, each) => count + (each.strongest ? fanOf(each) - each.strongest.count : 0), 0);
  return { total, bias, terms, unknown, activation: own.activation };
}

function fanOf(product) {
  return product.size[0] / product.groups;
}

function givenOf(product) {
  return arrays.get(product.given || state.photo.layers[product.layer].maps);
}

function termsOf(layer, product, channel, row, column) {
  const [, height, width] = product.size, [, , kh, kw] = product.shape;
  const fan = fanOf(product), outs = layer.shape[0] / product.groups;
  const group = Math.floor(channel / outs);
  const downs = taps(product, 0, row, kh, height), acrosses = taps(product, 1, column, kw, width);
  const place = { product, downs, acrosses, row: middle(downs), column: middle(acrosses) };
  if (product.strongest) {
    const at = (channel * layer.h + row) * layer.w + column, units = layer.shape[0] * layer.h * layer.w;
    const channels = arrays.get(product.strongest.channels), terms = arrays.get(product.strongest.terms);
    return Array.from({ length: product.strongest.count }, (_, rank) => (
      { ...place, term: terms[rank * units + at], channel: channels[rank * units + at], kernel: null }));
  }
  const given = givenOf(product), weight = arrays.get(product.weight), found = [];
  for (let k = 0; k < fan; k++) {
    const from = group * fan + k;
    const kernel = (product.transposed ? from * outs + channel % outs : channel * fan + k) * kh * kw;
    let term = 0;
    for (const [i, y] of downs) {
      for (const [j, x] of acrosses) term += weight[kernel + i * kw + j] * given[(from * height + y) * width + x];
    }
    found.push({ ...place, term, channel: from, kernel });
  }
  return found;
}

// [place in the kernel, place in what was given] for each that is not in the padding.
function taps({ stride, padding, dilation, transposed }, axis, unit, length, extent) {
  const found = [];
  for (let tap = 0; tap < length; tap++) {
    let at = transposed ? unit + padding[axis] - tap * dilation[axis] : unit * stride[axis] - padding[axis] + tap * dilation[axis];
    if (transposed && at % stride[axis]) continue;
    if (transposed) at /= stride[axis];
    if (at >= 0 && at < extent) found.push([tap, at]);
  }
  return found;
}

function middle(found) {
  return found.length ? found[found.length >> 1][1] : 0;
}

// The pixels that a unit sees, clipped to what there is: [top, left, bottom, right].
function fieldOf(layer, row, column) {
  const spans = head.size.map((extent, axis) => {
    const lattice = layer.field && layer.field.axes[axis];
    if (!lattice || lattice.step === undefined) return [0, extent];
    const unit = axis ? column : row, period = lattice.first.length;
    const r = unit % period, shift = ((unit - r) / period) * lattice.step;
    const first = Math.max(0, lattice.first[r] + shift), end = Math.min(extent, lattice.end[r] + shift);
    return first < end ? [first, end] : [0, extent];
  });
  return [spans[0][0], spans[1][0], spans[0][1], spans[1][1]];
}
