// The controls of the explorer. Each shows and changes one value of the state; scene.controls are those
// that need a kernel (gcnlab/widgets/menus.py).

const VIEWS = [
  ["suited", "automatic"],
  ["region", "region"],
  ["contour", "contour"],
  ["heat", "heat map"],
  ["prediction", "prediction"],
];
const RULES = [["mass", "share of the mass"], ["maximum", "share of the maximum"]];
const DEFAULT_SHARES = { mass: 0.8, maximum: 0.2 };

class Controls {
  constructor(viewer, parent) {
    this.viewer = viewer;
    this.element = make("div", parent, { class: "controls" });
    this.build();
  }

  // Make all controls, and keep the focus on the one that has it.
  build() {
    const focused = this.focused;
    this.inputs = {};
    this.element.replaceChildren();
    const { scene } = this.viewer;
    this._pictures();
    this._select("view", "view", VIEWS);
    this._select("rule", "region", RULES);
    this._range("threshold", "threshold", 0.05, 1, 0.05);
    for (const { name, label, options, several, min, max } of scene.controls || []) {
      if (several) this._several(name, label, options);
      else if (options) this._select(name, label, options);
      else this._range(name, label, min, max, 1);
    }
    this._select("occluder", "occluder", []);
    if (scene.networks.length > 1) {
      this._range("shown", "network", 0, scene.networks.length - 1, 1);
      this._check("together", "side by side", this.element, (checked) => this.viewer.change({ together: checked }));
    }
    this._buttons();
    this.offerOccluders();
    this.show();
    this.focus(focused);
  }

  // The name of the control that has the focus.
  get focused() {
    const active = this.element.getRootNode().activeElement;
    return Object.keys(this.inputs || {}).find((name) => this.inputs[name] === active);
  }

  focus(name) {
    this.inputs[name]?.focus({ preventScroll: true });
  }

  _label(name, text, parent = this.element) {
    const label = make("label", parent, { class: name });
    make("span", label, {}, text);
    return label;
  }

  // Option values are JSON, since a class is a number, and "as predicted" is null.
  _select(name, text, options) {
    const select = (this.inputs[name] = make("select", this._label(name, text)));
    fillOptions(select, options);
    select.addEventListener("change", () => this.viewer.change(this._with(name, JSON.parse(select.value))));
  }

  _range(name, text, min, max, step) {
    const label = this._label(name, text);
    const input = make("input", label, { type: "range", min, max, step, "aria-label": text });
    this.inputs[name] = input;
    this.inputs[`${name}-value`] = make("output", label);
    input.addEventListener("input", () => this.viewer.change(this._with(name, Number(input.value))));
  }

  _check(name, text, parent, act) {
    const label = make("label", parent, { class: "check" });
    const input = (this.inputs[name] = make("input", label, { type: "checkbox", class: name }));
    label.append(text);
    input.addEventListener("change", () => act(input.checked));
  }

  // Options of which several can be chosen, behind a summary of the chosen ones.
  _several(name, text, options) {
    const details = make("details", this.element, { class: "several" });
    this.inputs[`${name}-summary`] = make("summary", details, { "data-label": text });
    details.open = this.open === name;
    details.addEventListener("toggle", () => (this.open = details.open ? name : null));
    const list = make("div", details, { class: "list" });
    for (const [value, shown] of options) {
      this._check(`${name}:${value}`, shown, list, () => {
        const chosen = options.map(([own]) => own).filter((own) => this.inputs[`${name}:${own}`].checked);
        if (chosen.length) this.viewer.change({ [name]: chosen });
        else this.show(); // one of them stays
      });
    }
  }

  // The list of pictures, and a place to add one.
  _pictures() {
    const { viewer } = this;
    const titles = viewer.scene.pictures || [];
    if (!viewer.kernel && titles.length < 2) return;
    const row = make("div", this.element, { class: "pictures" });
    const go = (step) => () =>
      viewer.change({ image_index: (viewer.state.image_index + step + titles.length) % titles.length });
    if (titles.length > 1) {
      this.inputs.previous = make("button", row, { type: "button", "aria-label": "previous picture" }, "‹");
      this.inputs.previous.addEventListener("click", go(-1));
      const select = (this.inputs.image_index = make("select", this._label("image_index", "picture", row)));
      fillOptions(select, titles.map((title, i) => [i, title]));
      select.addEventListener("change", () => viewer.change({ image_index: Number(select.value) }));
      this.inputs.next = make("button", row, { type: "button", "aria-label": "next picture" }, "›");
      this.inputs.next.addEventListener("click", go(1));
    }
    if (!viewer.kernel) return;
    const add = make("label", row, { class: "add" });
    add.append("Add a picture");
    this.inputs.file = make("input", add, { type: "file", accept: "image/*", "aria-label": "add a picture" });
    this.inputs.file.addEventListener("change", ({ target }) => viewer.addFile(target.files[0]));
  }

  _buttons() {
    const { viewer } = this;
    const buttons = make("div", this.element, { class: "buttons" });
    const add = (name, text, act) => {
      this.inputs[name] = make("button", buttons, { type: "button" }, text);
      this.inputs[name].addEventListener("click", act);
    };
    add("pin", "Pin", () => viewer.pin(viewer.state.pixel));
    add("release", "Release pins", () => viewer.change({ pins: [] }));
    add("code", "Copy as code", () => copyCode(viewer));
    for (const suffix of viewer.kernel ? [".png", ".svg", ".npz"] : [".png"]) {
      add(`save${suffix}`, `Save ${suffix.slice(1).toUpperCase()}`, () => saveAs(viewer, suffix));
    }
  }

  // A new rule has its own share; a stride is at most the occluder's side, so one moves the other.
  _with(name, value) {
    const changes = { [name]: value };
    if (name === "rule") changes.threshold = DEFAULT_SHARES[value];
    if (name === "window") changes.stride = Math.min(this.viewer.state.stride, value);
    if (name === "stride") changes.window = Math.max(this.viewer.state.window, value);
    return changes;
  }

  show() {
    const { viewer: { state, scene }, inputs } = this;
    for (const [name, input] of Object.entries(inputs)) {
      const [own, choice] = name.split(":");
      if (choice) input.checked = [state[own]].flat().includes(choice);
      else if (name === "together") input.checked = state.together;
      else if (name in state && input.tagName === "SELECT") input.value = JSON.stringify(state[name]);
      else if (name in state && input.type === "range") input.value = state[name];
      const output = inputs[`${name}-value`];
      if (output) output.textContent = this._readout(name, state[name]);
    }
    for (const { name, options, several } of scene.controls || []) {
      if (!several) continue;
      const chosen = options.filter(([value]) => [state[name]].flat().includes(value));
      const summary = inputs[`${name}-summary`];
      summary.textContent = `${summary.dataset.label}: ${chosen.map(([, text]) => text).join(" + ")}`;
    }
    if (inputs.shown) inputs.shown.parentElement.hidden = state.together;
    inputs.shown?.setAttribute("aria-valuetext", scene.networks[state.shown]?.title);
    const colours = this.viewer.predictions.some(Boolean) && scene.classColours.length;
    inputs.view.querySelector(`[value='"prediction"']`).disabled = !colours;
    inputs.release.disabled = !state.pins.length;
    inputs.pin.disabled = state.pins.length === 2;
  }

  _readout(name, value) {
    if (name === "threshold") return percent(value);
    if (name === "shown") return this.viewer.scene.networks[value].title;
    return `${value} px`;
  }

  // Without a kernel, one can choose among the occluders that were computed.
  offerOccluders() {
    const known = [...new Set([...this.viewer.atlases.values()].map((atlas) => atlas.occluder))];
    const select = this.inputs.occluder;
    fillOptions(select, known.map((value) => [value, value]));
    select.parentElement.hidden = known.length < 2 || Boolean(this.viewer.scene.controls);
    select.value = JSON.stringify(this.viewer.state.occluder);
  }
}

function fillOptions(select, options) {
  select.replaceChildren();
  for (const [value, text] of options) make("option", select, { value: JSON.stringify(value) }, text);
}
