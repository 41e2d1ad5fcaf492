// The controls of the explorer. Each shows and changes one value of the state; scene.controls are those
// that need a kernel.

const VIEWS = { region: "region", contour: "contour", heat: "heat map", prediction: "prediction" };
const RULES = { mass: "share of the mass", maximum: "share of the maximum" };
const DEFAULT_SHARES = { mass: 0.8, maximum: 0.2 };

class Controls {
  constructor(viewer, parent) {
    Object.assign(this, { viewer, inputs: {} });
    this.element = make("div", parent, { class: "controls" });
    const { scene } = viewer;
    this._select("view", "view", VIEWS);
    this._select("rule", "region", RULES);
    this._range("threshold", "", 0.05, 1, 0.05, "share");
    for (const { name, label, options, min, max } of scene.controls || []) {
      if (options) this._select(name, label, options);
      else this._range(name, label, min, max, 1);
    }
    this._select("occluder", "occluder", {});
    if (scene.networks.length > 1) {
      this._range("shown", "network", 0, scene.networks.length - 1, 1);
      const together = make("label", this.element, { class: "check" });
      this.inputs.together = make("input", together, { type: "checkbox", class: "together" });
      together.append("side by side");
      this.inputs.together.addEventListener("change", ({ target }) =>
        this.viewer.change({ together: target.checked }),
      );
    }
    const buttons = make("div", this.element, { class: "buttons" });
    this.inputs.pin = make("button", buttons, { type: "button" }, "Pin");
    this.inputs.pin.addEventListener("click", () => this.viewer.pin(this.viewer.state.pixel));
    this.inputs.release = make("button", buttons, { type: "button" }, "Release pins");
    this.inputs.release.addEventListener("click", () => this.viewer.change({ pins: [] }));
    this.offerOccluders();
    this.show();
  }

  _label(name, text) {
    const label = make("label", this.element, { class: name });
    make("span", label, {}, text);
    return label;
  }

  _select(name, text, options) {
    const select = (this.inputs[name] = make("select", this._label(name, text)));
    for (const [value, shown] of Object.entries(options)) make("option", select, { value }, shown);
    select.addEventListener("change", () => {
      const known = name === "occluder" || Object.hasOwn(options, select.value);
      if (known) this.viewer.change(this._with(name, select.value));
    });
  }

  _range(name, text, min, max, step, spoken = text) {
    const label = this._label(name, text);
    const input = make("input", label, { type: "range", min, max, step, "aria-label": spoken });
    this.inputs[name] = input;
    this.inputs[`${name}-value`] = make("output", label);
    input.addEventListener("input", () => this.viewer.change(this._with(name, Number(input.value))));
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
    const { viewer: { state }, inputs } = this;
    for (const [name, input] of Object.entries(inputs)) {
      if (name === "together") input.checked = state.together;
      else if (name in state && "value" in input && input.tagName !== "OUTPUT") input.value = state[name];
      const output = inputs[`${name}-value`];
      if (output) output.textContent = this._readout(name, state[name]);
    }
    if (inputs.shown) inputs.shown.parentElement.hidden = state.together;
    const title = this.viewer.scene.networks[state.shown]?.title;
    if (inputs.shown) inputs.shown.setAttribute("aria-valuetext", title);
    const colours = this.viewer.predictions.some(Boolean) && this.viewer.scene.classColours.length;
    inputs.view.querySelector('[value="prediction"]').disabled = !colours;
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
    select.replaceChildren();
    for (const value of known) make("option", select, { value }, value);
    select.parentElement.hidden = known.length < 2 || Boolean(this.viewer.scene.controls);
    select.value = this.viewer.state.occluder;
  }
}
