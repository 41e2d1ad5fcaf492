// The explorer's page elements: one picture per network and method, the controls, a table of facts.
//
// It needs no kernel: with an atlas, the field of any pixel is a look-up. A kernel can send more
// (atlases of another occluder, fields of other methods) and is told what the user selects.

const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const NARROW = 520; // pixels of the page; below, one picture at a time is shown
const REST = 150; // milliseconds; the kernel is told of a pixel where the mouse rests
const PINS = "AB";

class Viewer {
  // `scene` is what Python packs (gcnlab/widgets/scene.py). `kernel` is null without one; otherwise
  // kernel.change(changes) reports what the user changes, kernel.add(name, bytes) adds a picture, and
  // kernel.save(suffix) asks for a file.
  constructor(root, scene, picture, kernel = null) {
    Object.assign(this, { scene, picture, kernel, atlases: new Map(), answers: new Map() });
    this.state = { together: true, shown: 0, ...scene.state };
    this.maps = { heat: colourMap(scene.colours.heat), signed: colourMap(scene.colours.signed) };
    this.objects = scene.objects ? new Objects(scene.objects, scene.size) : null;
    this.predictions = scene.networks.map(({ prediction }) => prediction && this._coloured(prediction));
    this.element = make("div", root, { class: "explorer" });
    this.controls = new Controls(this, this.element);
    this.said = make("p", this.element, { class: "message said", role: "status" });
    this.where = make("p", this.element, { class: "where", "aria-live": "polite" });
    this.panels = make("div", this.element, { class: "panels" });
    this.grid = scene.rows.map((_, row) =>
      scene.networks.map((_, network) => new Panel(this, row, network)),
    );
    this.facts = new Facts(this, this.element);
    this.code = make("pre", this.element, { class: "code", hidden: "", tabindex: "0" });
    this._takeDrops();
    this._watchSize();
  }

  // The pixels whose fields are shown: the pins, or the one under the mouse. An atlas keeps some units
  // only; what is shown is the nearest one, so the dot is drawn there.
  get selected() {
    const asked = this.state.pins.length ? this.state.pins : [this.state.pixel];
    const atlas = this.scene.rows.length === 1 && this.atlases.get(`0 ${this.state.occluder}`);
    return atlas ? asked.map((pixel) => atlas.middle(atlas.unit(pixel))) : asked;
  }

  // The distance between the pixels that can be selected.
  get spacing() {
    const units = this.atlases.get(`0 ${this.state.occluder}`)?.units;
    return this.scene.rows.length === 1 && units ? units.map((at) => (at[1] ?? 1) - at[0]) : [1, 1];
  }

  get flat() {
    return this.grid.flat();
  }

  setAtlas(network, facts, bytes) {
    this.atlases.set(`${network} ${facts.occluder}`, new Atlas(facts, bytes));
    this.controls.offerOccluders();
    this.update();
  }

  keepAtlases(occluders) {
    for (const [key, { occluder }] of this.atlases) if (!occluders.includes(occluder)) this.atlases.delete(key);
    this.controls.offerOccluders();
  }

  setAnswer(row, network, answer) {
    const [rows, columns] = answer.edges.map((edges) => new Axis(edges));
    const field = answer.values ? new Field(rows, columns, answer.values) : null;
    this.answers.set(`${row} ${network}`, { ...answer, field });
    this.update();
  }

  setPrediction(network, classes) {
    this.predictions[network] = this._coloured(classes);
    this.controls.show();
    this.update();
  }

  setStatus(row, network, status) {
    this.grid[row][network].status = status;
    this.update();
  }

  // What the user has set in this view alone. A new scene gets it from the viewer before it.
  get own() {
    const { together, shown } = this.state;
    return { together, shown, focused: this.controls.focused, open: this.controls.open };
  }

  adopt({ together, shown, focused, open }) {
    Object.assign(this.state, { together, shown });
    this.controls.open = open;
    this.controls.build();
    this.controls.focus(focused);
    this.update();
  }

  setControls(controls) {
    this.scene.controls = controls;
    this.controls.build();
  }

  // Say something to the user, such as why a change was refused.
  tellUser(text, error = false) {
    this.said.textContent = text;
    this.said.classList.toggle("error", error);
  }

  // Change the state from outside, without a report.
  set(changes) {
    Object.assign(this.state, changes);
    this.controls.show();
    this.update();
  }

  // Change the state by a control, and report it, with the pixel that may not be reported yet.
  change(changes) {
    this.set(changes);
    this.tellUser("");
    clearTimeout(this._resting);
    const { pixel } = this.state;
    this.kernel?.change("image_index" in changes ? changes : { pixel, ...changes });
  }

  // The field that one panel shows for a pixel, with its class and logit; null if it is not there yet.
  lookUp(row, network, pixel) {
    if (this.scene.rows[row].method === "atlas") {
      const atlas = this.atlases.get(`${network} ${this.state.occluder}`);
      if (!atlas) return null;
      const unit = atlas.unit(pixel);
      const { score, classes, evaluated, code } = atlas;
      return {
        field: atlas.field(unit),
        target: classes[unit],
        logit: score[unit],
        centre: atlas.middle(unit),
        evaluated,
        code,
        best: atlas.likeliest(unit),
      };
    }
    const answer = this.answers.get(`${row} ${network}`);
    return answer && same(answer.pixel, pixel) && answer.question === this.state.question ? answer : null;
  }

  // Draw everything in the next frame of the screen.
  update() {
    if (this._waiting) return;
    this._waiting = requestAnimationFrame(() => {
      this._waiting = 0;
      this.draw();
    });
  }

  draw() {
    const single = !this.state.together;
    this.flat.forEach((panel) => {
      panel.figure.hidden = single && panel.network !== this.state.shown;
    });
    this.panels.style.setProperty("--columns", single ? 1 : this.scene.networks.length);
    // All sizes are read before anything is written, so that the page is laid out only once.
    const visible = this.flat.filter((panel) => !panel.figure.hidden);
    visible.forEach((panel) => panel.fit());
    visible.forEach((panel) => panel.draw());
    write(this.where, this.selected.map((pixel, i) => this._place(pixel, i)).join("; "));
    this.facts.show();
  }

  _place([row, column], i) {
    const label = this.scene.labels?.[row * this.scene.size[1] + column];
    const pin = this.state.pins.length ? `${PINS[i]}: ` : "";
    return `${pin}row ${row}, column ${column}${label === undefined ? "" : `: ${this.nameOf(label)}`}`;
  }

  // The view of a row of pictures.
  viewOf(row) {
    return this.state.view === "suited" ? this.scene.rows[row].view : this.state.view;
  }

  // The name of what a field is of: a class, or a channel of a hidden layer.
  targetName(target) {
    return this.scene.hidden ? `channel ${target}` : this.nameOf(target);
  }

  nameOf(label) {
    return this.scene.classes[label] ?? (label === 255 ? "void" : `class ${label}`);
  }

  // The object under the first selected pixel, as a path on a canvas.
  objectPath(scale, canvas) {
    const object = this.objects?.at(this.selected[0]);
    if (!object) return null;
    const key = `${object} ${canvas.width}`;
    if (this._object?.key !== key) {
      const [height, width] = this.scene.size;
      const axes = [height, width].map((n) => new Axis(Array.from({ length: n + 1 }, (_, i) => i)));
      const inside = this.objects.numbers.map((number) => Number(number === object));
      const path = outline(scale, { rows: axes[0], columns: axes[1] }, inside);
      this._object = { key, path };
    }
    return this._object.path;
  }

  // A prediction as a picture: 60 % of the class's colour and 40 % of the image's grey value.
  _coloured(classes) {
    const [height, width] = this.scene.size;
    const canvas = Object.assign(document.createElement("canvas"), { height, width });
    const context = canvas.getContext("2d");
    context.drawImage(this.picture, 0, 0, width, height);
    const image = context.getImageData(0, 0, width, height);
    classes.forEach((id, k) => {
      const grey = (image.data[4 * k] + image.data[4 * k + 1] + image.data[4 * k + 2]) / 3;
      const colour = this.scene.classColours[id] || [128, 128, 128];
      colour.forEach((part, c) => (image.data[4 * k + c] = 0.4 * grey + 0.6 * part));
    });
    context.putImageData(image, 0, 0);
    return canvas;
  }

  // Mouse, touch and keyboard.

  pointermove(event, panel) {
    if (this.state.pins.length) return;
    const pixel = panel.pixelAt(event);
    if (!same(pixel, this.state.pixel)) this.select(pixel);
  }

  pointerdown(event, panel) {
    if (event.pointerType === "mouse") return;
    // A finger selects where it touches and where it is dragged; it does not pin.
    panel.frame.setPointerCapture(event.pointerId);
    const pixel = panel.pixelAt(event);
    if (this.state.pins.length) this.pin(pixel);
    else this.select(pixel);
  }

  click(event, panel) {
    if (event.pointerType && event.pointerType !== "mouse") return;
    panel.frame.focus({ preventScroll: true });
    this.pin(panel.pixelAt(event));
  }

  keydown(event) {
    const step = STEPS[event.key];
    if (step) {
      const [height, width] = this.scene.size;
      const [row, column] = this.selected.at(-1);
      const far = this.spacing.map((one) => one * (event.shiftKey ? Math.max(2, Math.round(10 / one)) : 1));
      const next = [clamp(row + far[0] * step[0], height), clamp(column + far[1] * step[1], width)];
      if (this.state.pins.length) this.change({ pins: [...this.state.pins.slice(0, -1), next] });
      else this.select(next);
    } else if (event.key === "Enter" || event.key === " ") {
      this.pin(this.state.pixel);
    } else if (event.key === "Escape" && this.state.pins.length) {
      this.release();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  // A pixel whose unit the first atlas keeps, so that all rows of pictures answer for the same one.
  snap(pixel) {
    const atlas = this.atlases.get(`0 ${this.state.occluder}`);
    return atlas && this.scene.rows.some(({ method }) => method === "atlas") ? atlas.middle(atlas.unit(pixel)) : pixel;
  }

  select(asked) {
    const pixel = this.snap(asked);
    this.set({ pixel });
    clearTimeout(this._resting);
    if (this.kernel) this._resting = setTimeout(() => this.kernel.change({ pixel }), REST);
  }

  // Pin a pixel as A, or as B if there is an A.
  pin(asked) {
    const pixel = this.snap(asked);
    const pins = this.state.pins.length ? [this.state.pins[0], pixel] : [pixel];
    this.change({ pixel, pins: same(...pins) ? pins.slice(0, 1) : pins });
  }

  release() {
    const pixel = this.state.pins.at(-1);
    this.change({ pixel, pins: this.state.pins.slice(0, -1) });
  }

  async addFile(file) {
    if (!file) return;
    this.tellUser(`reading ${file.name} …`);
    this.kernel.add(file.name, await file.arrayBuffer());
  }

  // A picture that is dropped on the explorer is added.
  _takeDrops() {
    if (!this.kernel) return;
    this.element.addEventListener("dragover", (event) => event.preventDefault());
    this.element.addEventListener("drop", (event) => {
      event.preventDefault();
      event.stopPropagation();
      this.addFile(event.dataTransfer.files[0]);
    });
  }

  _watchSize() {
    let narrow = null;
    this._observer = new ResizeObserver(() => {
      const width = this.element.clientWidth;
      if (width && narrow !== width < NARROW) {
        narrow = width < NARROW;
        this.set({ together: !narrow || this.scene.networks.length === 1 });
      }
      this.update();
    });
    this._observer.observe(this.element);
  }

  remove() {
    this._observer.disconnect();
    cancelAnimationFrame(this._waiting);
    clearTimeout(this._resting);
  }
}
