// Receptive fields in the browser: the same numbers as in Python, without the page's elements.
//
// A field is constant on the cells of a grid, so everything is computed for cells: their edges in
// pixels, and one value each, row by row.

class Axis {
  // The cells along one axis; edges[i] … edges[i + 1] are the pixels of cell i.
  constructor(edges) {
    this.edges = edges;
    this.count = edges.length - 1;
    this.length = edges[this.count];
    this.sizes = Float64Array.from({ length: this.count }, (_, i) => edges[i + 1] - edges[i]);
  }

  // The cell that contains a pixel.
  at(pixel) {
    let [low, high] = [0, this.count - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.edges[middle] <= pixel) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  // For each cell, the mean square distance of its pixels from `pixel`.
  squares(pixel) {
    return this.sizes.map(
      (size, i) => ((this.edges[i] + this.edges[i + 1] - 1) / 2 - pixel) ** 2 + (size * size - 1) / 12,
    );
  }
}

class Field {
  // The values of one field: `rows` and `columns` are axes, `values` has one number per cell.
  constructor(rows, columns, values) {
    Object.assign(this, { rows, columns, values });
  }

  // Sum over the pixels of all cells of |value| × weight(row, column).
  mass(weight = () => 1) {
    let sum = 0;
    for (let i = 0, k = 0; i < this.rows.count; i++) {
      for (let j = 0; j < this.columns.count; j++, k++) {
        sum += Math.abs(this.values[k]) * this.rows.sizes[i] * this.columns.sizes[j] * weight(i, j);
      }
    }
    return sum;
  }

  get largest() {
    return this.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  }

  // Which cells belong to the region (gcnlab.receptive.region), 1 or 0 each.
  region(threshold, rule) {
    const level = rule === "maximum" ? threshold * this.largest : this._levelOfMass(threshold);
    return Uint8Array.from(this.values, (value) => Math.abs(value) >= level && value !== 0);
  }

  // The |value| at the edge of the smallest region that holds a share of the mass.
  _levelOfMass(share) {
    const { columns, values } = this;
    const order = Uint32Array.from(values, (_, k) => k);
    order.sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]));
    const area = (k) => this.rows.sizes[(k / columns.count) | 0] * columns.sizes[k % columns.count];
    const wanted = share * order.reduce((sum, k) => sum + Math.abs(values[k]) * area(k), 0);
    let held = 0;
    for (const k of order) {
      held += Math.abs(values[k]) * area(k);
      if (held >= wanted) return Math.abs(values[k]);
    }
    return 0;
  }

  // Root mean square distance of |field| from a pixel; NaN if the field is zero.
  radius([row, column]) {
    const [down, across] = [this.rows.squares(row), this.columns.squares(column)];
    return Math.sqrt(this.mass((i, j) => down[i] + across[j]) / this.mass());
  }

  minus(other) {
    return new Field(this.rows, this.columns, this.values.map((value, k) => value - other.values[k]));
  }
}

class Atlas {
  // The fields of all units of one network: `facts` is the description that Python packs
  // (gcnlab/widgets/packing.py), `bytes` its numbers, [window row, window column, unit row, unit column].
  constructor(facts, bytes) {
    Object.assign(this, facts);
    this.rows = new Axis(facts.edges[0]);
    this.columns = new Axis(facts.edges[1]);
    this.looked = new Map();
    const buffer = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
    const units = this.units[0].length * this.units[1].length;
    const count = units * this.windows[0] * this.windows[1];
    this.scale = new Float32Array(buffer, 0, units);
    this.score = new Float32Array(buffer, 4 * units, units);
    this.classes = new Uint16Array(buffer, 8 * units, units);
    const start = 10 * units;
    if (this.precision === "float32") {
      // The classes take two bytes each, so the rest may not lie on a multiple of four.
      this.drops = new Float32Array(buffer.slice(start), 0, count);
    } else {
      this.drops = new Int8Array(buffer, start, count);
      this._undoDifferences();
    }
  }

  // Python stores each value minus the one to its left and above (packing.py), which packs better.
  _undoDifferences() {
    const [height, width] = [this.units[0].length, this.units[1].length];
    for (let start = 0; start < this.drops.length; start += height * width) {
      const plane = this.drops.subarray(start, start + height * width);
      for (let i = 0; i < height; i++) {
        for (let j = 1; j < width; j++) plane[i * width + j] += plane[i * width + j - 1];
      }
      for (let k = width; k < height * width; k++) plane[k] += plane[k - width];
    }
  }

  // The number of the unit that is kept and is nearest to the one whose area contains a pixel of the
  // image (gcnlab/receptive/unit.py, unit_at).
  unit(pixel) {
    const lengths = [this.rows.length, this.columns.length];
    const [row, column] = pixel.map((p, axis) =>
      nearest(this.kept[axis], Math.floor((p * this.map[axis]) / lengths[axis])),
    );
    return row * this.kept[1].length + column;
  }

  // The likeliest classes at a unit and their probabilities, 0 … 1, if the page has them.
  likeliest(unit) {
    if (!this.best) return null;
    const { ids, shares } = this.best;
    const units = this.units[0].length * this.units[1].length;
    const places = Array.from({ length: ids.length / units }, (_, i) => i * units + unit);
    return [places.map((k) => ids[k]), places.map((k) => shares[k] / 100)];
  }

  // The pixel of the image in the middle of a unit.
  middle(unit) {
    const width = this.units[1].length;
    return [this.units[0][Math.floor(unit / width)], this.units[1][unit % width]];
  }

  // The field of a unit: the mean drop of the windows that cover each cell. The last ones are kept,
  // because the picture and the table need the same.
  field(unit) {
    if (!this.looked.has(unit)) {
      if (this.looked.size === 4) this.looked.delete(this.looked.keys().next().value);
      this.looked.set(unit, this._field(unit));
    }
    return this.looked.get(unit);
  }

  _field(unit) {
    const [down, across] = this.windows;
    const units = this.units[0].length * this.units[1].length;
    const drops = new Float64Array(down * across);
    for (let w = 0; w < drops.length; w++) {
      const value = this.drops[w * units + unit];
      drops[w] =
        this.precision === "float32" ? value : ((value * Math.abs(value)) / 127 ** 2) * this.scale[unit];
    }
    const half = product(this.weights[0], drops, across);
    const values = new Float32Array(this.rows.count * this.columns.count);
    for (let i = 0; i < this.rows.count; i++) {
      for (let j = 0; j < this.columns.count; j++) {
        let sum = 0;
        for (const [w, weight] of this.weights[1][j]) sum += weight * half[i * across + w];
        values[i * this.columns.count + j] = sum;
      }
    }
    return new Field(this.rows, this.columns, values);
  }
}

// The product of a sparse matrix, as a list of [index, weight] per row, and a dense one.
function product(sparse, dense, width) {
  const result = new Float64Array(sparse.length * width);
  sparse.forEach((row, i) => {
    for (const [k, weight] of row) {
      for (let j = 0; j < width; j++) result[i * width + j] += weight * dense[k * width + j];
    }
  });
  return result;
}

// The index of the number nearest to `value` in an ascending list; of two, the first.
function nearest(numbers, value) {
  let [low, high] = [0, numbers.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - numbers[low - 1] <= numbers[low] - value ? low - 1 : low;
}

// Which objects lie under which cells: object number → number of its pixels in each cell.
class Objects {
  // `numbers` has one object number per pixel; 0 is no object.
  constructor(numbers, [height, width]) {
    Object.assign(this, { numbers, height, width, kept: new Map() });
  }

  at([row, column]) {
    return this.numbers[row * this.width + column];
  }

  // Share of an object's pixels inside a region.
  coverage(object, field, region) {
    const counts = this._counts(object, field);
    let [inside, all] = [0, 0];
    counts.forEach((count, k) => {
      all += count;
      if (region[k]) inside += count;
    });
    return inside / all;
  }

  _counts(object, { rows, columns }) {
    const key = `${object} ${rows.edges} ${columns.edges}`;
    if (!this.kept.has(key)) {
      const counts = new Uint32Array(rows.count * columns.count);
      for (let row = 0; row < this.height; row++) {
        const start = rows.at(row) * columns.count;
        for (let column = 0; column < this.width; column++) {
          if (this.numbers[row * this.width + column] === object) counts[start + columns.at(column)]++;
        }
      }
      this.kept.set(key, counts);
    }
    return this.kept.get(key);
  }
}

const LETTERS =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;,=>?@^_`{|}~";
const DIGITS = Uint8Array.from({ length: 128 }, (_, code) => LETTERS.indexOf(String.fromCharCode(code)));

// The bytes of a text in base 85 (gcnlab/widgets/scene.py): five letters are four bytes.
function fromBase85(text) {
  const bytes = new DataView(new ArrayBuffer(4 * Math.ceil(text.length / 5)));
  for (let i = 0; i < text.length; i += 5) {
    let value = 0;
    for (let j = i; j < i + 5; j++) value = value * 85 + (j < text.length ? DIGITS[text.charCodeAt(j)] : 84);
    bytes.setUint32((i / 5) * 4, value);
  }
  return new Uint8Array(bytes.buffer, 0, Math.floor((text.length * 4) / 5));
}

// The bytes of such a text, unpacked with zlib.
async function bytesOf(text) {
  const stream = new Blob([fromBase85(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
