// Drawing fields on a canvas. Positions are rounded to the canvas's own pixels, so that neighbouring
// cells leave no gap and the edges of a region are sharp.

const SHADE = 0.7; // how much the image is darkened outside of the region

class Scale {
  // Maps pixels of the image to pixels of a canvas.
  constructor(canvas, [height, width]) {
    this.x = (edge) => Math.round((edge * canvas.width) / width);
    this.y = (edge) => Math.round((edge * canvas.height) / height);
  }
}

// Fill cells with the colour that `colour(k)` gives for cell k; null leaves a cell as it is. Runs of
// cells of one colour in a row are filled at once.
function fillCells(context, scale, { rows, columns }, colour) {
  for (let i = 0; i < rows.count; i++) {
    const [top, bottom] = [scale.y(rows.edges[i]), scale.y(rows.edges[i + 1])];
    for (let j = 0; j < columns.count; ) {
      const start = j;
      const own = colour(i * columns.count + j);
      do j++;
      while (j < columns.count && colour(i * columns.count + j) === own);
      if (own === null) continue;
      const left = scale.x(columns.edges[start]);
      context.fillStyle = own;
      context.fillRect(left, top, scale.x(columns.edges[j]) - left, bottom - top);
    }
  }
}

// The outline of the cells where `inside` is 1. There is no line along the border of the image.
function outline(scale, { rows, columns }, inside) {
  const path = new Path2D();
  const line = (x, y, x2, y2) => {
    path.moveTo(scale.x(x), scale.y(y));
    path.lineTo(scale.x(x2), scale.y(y2));
  };
  for (let i = 0; i < rows.count; i++) {
    for (let j = 0; j < columns.count; j++) {
      const [here, k] = [inside[i * columns.count + j], i * columns.count + j];
      const [x, x2, y, y2] = [columns.edges[j], columns.edges[j + 1], rows.edges[i], rows.edges[i + 1]];
      if (j + 1 < columns.count && here !== inside[k + 1]) line(x2, y, x2, y2);
      if (i + 1 < rows.count && here !== inside[k + columns.count]) line(x, y2, x2, y2);
    }
  }
  return path;
}

// A light line on a darker one is visible on any picture.
function strokeTwice(context, path, colour, width) {
  context.lineCap = "square";
  context.strokeStyle = "rgb(0 0 0 / 55%)";
  context.lineWidth = 2.2 * width;
  context.stroke(path);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
}

// A dot with a white ring; `letter` names a pin.
function drawDot(context, scale, [row, column], width, colour, letter = "") {
  const [x, y] = [scale.x(column + 0.5), scale.y(row + 0.5)];
  context.beginPath();
  context.arc(x, y, (letter ? 5 : 3) * width, 0, 2 * Math.PI);
  context.fillStyle = colour;
  context.fill();
  context.lineWidth = width;
  context.strokeStyle = "white";
  context.stroke();
  if (!letter) return;
  context.fillStyle = "white";
  context.font = `bold ${7 * width}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(letter, x, y + 0.5 * width);
}

// Colours of a map from its 256 entries, three bytes each, as CSS colours.
function colourMap(bytes) {
  return Array.from({ length: bytes.length / 3 }, (_, i) => `rgb(${bytes.slice(3 * i, 3 * i + 3).join(" ")})`);
}

// Colours of a heat map of |field|: its square root, which also shows small values.
function heat(field, colours) {
  const largest = field.largest || 1;
  return (k) => colours[Math.floor(Math.sqrt(Math.abs(field.values[k]) / largest) * 255)];
}

// Colours of a signed field: the middle of the map is zero.
function signed(field, colours) {
  const largest = field.largest || 1;
  return (k) => {
    const share = field.values[k] / largest;
    return colours[Math.round(127.5 + 127.5 * Math.sign(share) * Math.sqrt(Math.abs(share)))];
  };
}
