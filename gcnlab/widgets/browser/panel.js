// One picture of the explorer, with its title and what is said about it.

class Panel {
  // One picture with its title.
  constructor(viewer, row, network) {
    Object.assign(this, { viewer, row, network, status: {}, field: null });
    this.figure = make("figure", viewer.panels, { class: "panel" });
    const caption = make("figcaption", this.figure);
    make("b", caption, {}, viewer.scene.networks[network].title);
    if (viewer.scene.rows.length > 1) make("span", caption, {}, viewer.scene.rows[row].label);
    this.progressText = make("span", caption, { class: "state" });
    this.largest = make("span", caption, { class: "largest" });
    this.frame = make("div", this.figure, {
      class: "frame",
      tabindex: "0",
      role: "application",
      "aria-roledescription": "picture with a selectable pixel",
    });
    this.canvas = make("canvas", this.frame);
    this.message = make("p", this.figure, { class: "message" });
    this.frame.style.aspectRatio = `${viewer.scene.size[1]} / ${viewer.scene.size[0]}`;
    for (const kind of ["pointerdown", "pointermove", "click", "keydown"]) {
      this.frame.addEventListener(kind, (event) => viewer[kind](event, this));
    }
  }

  // The pixel of the image under the mouse.
  pixelAt(event) {
    const box = this.canvas.getBoundingClientRect(); // as displayed: scaled, zoomed, scrolled
    const [height, width] = this.viewer.scene.size;
    return [
      clamp(Math.floor(((event.clientY - box.top) / box.height) * height), height),
      clamp(Math.floor(((event.clientX - box.left) / box.width) * width), width),
    ];
  }

  // Make the canvas as large as it is displayed, in the screen's pixels.
  fit() {
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.frame.clientWidth, this.frame.clientHeight];
    const size = [Math.round(width * ratio), Math.round(height * ratio)];
    if (size[0] === this.canvas.width && size[1] === this.canvas.height) return;
    [this.canvas.width, this.canvas.height] = size;
  }

  draw() {
    const { viewer, canvas } = this;
    const { state, scene } = viewer;
    const context = canvas.getContext("2d");
    const line = Math.max(1, canvas.width / 220) * 1.3;
    const scale = new Scale(canvas, scene.size);
    const fields = viewer.selected.map((pixel) => viewer.lookUp(this.row, this.network, pixel));
    const [first, second] = fields.map((found) => found && found.field);
    this.show(fields);
    const wanted = viewer.viewOf(this.row);
    const view = wanted === "prediction" && !viewer.predictions[this.network] ? "region" : wanted;
    if (view === "prediction") {
      context.imageSmoothingEnabled = false;
      context.drawImage(viewer.predictions[this.network], 0, 0, canvas.width, canvas.height);
    } else {
      context.imageSmoothingEnabled = true;
      context.drawImage(viewer.picture, 0, 0, canvas.width, canvas.height);
    }
    const object = viewer.objectPath(scale, canvas);
    if (second) {
      fillCells(context, scale, first, signed(first.minus(second), viewer.maps.signed));
    } else if (first && view === "heat") {
      fillCells(context, scale, first, heat(first, viewer.maps.heat));
    } else if (first) {
      const inside = first.region(state.threshold, state.rule);
      if (view === "region") {
        fillCells(context, scale, first, (k) => (inside[k] ? null : `rgb(0 0 0 / ${SHADE})`));
      }
      if (object) strokeTwice(context, object, "#56b4e9", line);
      strokeTwice(context, outline(scale, first, inside), "white", line);
    }
    if (object && (second || !first || view === "heat")) strokeTwice(context, object, "#56b4e9", line);
    viewer.selected.forEach((pixel, i) => {
      drawDot(context, scale, pixel, line, i ? "#0072b2" : "#e60000", state.pins.length ? PINS[i] : "");
    });
  }

  // The words around the picture.
  show(fields) {
    const { busy = false, progress = 0, note = "", error = "" } = this.status;
    const missing = fields.some((found) => !found);
    this.figure.classList.toggle("pending", missing && !error);
    const run = fields[0]?.evaluated < 1 ? `${percent(fields[0].evaluated)} of the windows computed` : "";
    write(this.progressText, error ? "" : missing ? `computing … ${percent(progress)}` : run);
    const [first, second] = fields.map((found) => found?.field);
    const shown = second ? first.minus(second) : this.viewer.viewOf(this.row) === "heat" ? first : null;
    write(this.largest, shown ? `largest ${shown.largest.toPrecision(2)}` : "");
    write(this.message, error || note);
    this.message.classList.toggle("error", Boolean(error));
    const at = this.viewer.selected.map(([row, column]) => `Row ${row}, column ${column}.`).join(" ");
    this.frame.setAttribute(
      "aria-label",
      `${this.viewer.scene.networks[this.network].title}. ${at} Arrow keys move the pixel; with Shift ` +
        "they move it further. Enter pins the pixel. Escape releases the last pin.",
    );
    this.frame.dataset.state = error ? "failed" : missing ? "missing" : busy ? "busy" : "done";
  }
}
