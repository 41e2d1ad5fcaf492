// What the explorer says below its pictures: a colour bar, and a table of facts.

class Facts {
  constructor(viewer, parent) {
    this.viewer = viewer;
    this.bar = make("div", parent, { class: "bar", hidden: "" });
    this.table = make("table", make("div", parent, { class: "facts" }));
  }

  show() {
    this._showBar();
    this._showTable();
  }

  _showTable() {
    const { viewer } = this;
    const { hidden } = viewer.scene;
    const head = ["network", ...(hidden ? ["channel", "activation"] : ["class", "logit"])];
    head.push(...(viewer.objects ? ["object covered"] : []), "image covered", "radius", ...(hidden ? [] : ["best classes"]));
    const lines = [];
    for (const panel of viewer.flat) {
      viewer.selected.forEach((pixel, i) => {
        const found = viewer.lookUp(panel.row, panel.network, pixel);
        lines.push([this._name(panel, i), ...this._facts(panel, pixel, found)]);
      });
    }
    const shape = `${head.length} ${lines.length}`;
    if (this._shape !== shape) {
      this._shape = shape;
      this.table.replaceChildren();
      const top = make("tr", make("thead", this.table));
      const kinds = head.map((text) => (text === "best classes" ? "best" : ""));
      head.forEach((text, j) => make("th", top, { scope: "col", class: kinds[j] }, text));
      const body = make("tbody", this.table);
      this.cells = lines.map((line) => {
        const tr = make("tr", body);
        return line.map((_, j) => make(j ? "td" : "th", tr, j ? { class: kinds[j] } : { scope: "row" }));
      });
    }
    lines.forEach((line, i) => {
      line.forEach((text, j) => {
        write(this.cells[i][j], text);
      });
    });
  }

  _name(panel, i) {
    const parts = [this.viewer.scene.networks[panel.network].title];
    if (this.viewer.scene.rows.length > 1) parts.push(this.viewer.scene.rows[panel.row].label);
    if (this.viewer.state.pins.length) parts.push(PINS[i]);
    return parts.join(" · ");
  }

  _facts(panel, pixel, found) {
    const object = this.viewer.objects?.at(pixel);
    const { hidden } = this.viewer.scene;
    const none = ["", "", ...(this.viewer.objects ? [""] : []), "", "", ...(hidden ? [] : [""])];
    if (!found || !found.field) return none;
    const { field, target, logit, centre, best, measured = true } = found;
    const inside = field.region(this.viewer.state.threshold, this.viewer.state.rule);
    const [height, width] = this.viewer.scene.size;
    let area = 0;
    inside.forEach((own, k) => {
      const [i, j] = [Math.floor(k / field.columns.count), k % field.columns.count];
      if (own) area += field.rows.sizes[i] * field.columns.sizes[j];
    });
    const radius = field.radius(centre);
    return [
      this.viewer.targetName(target),
      logit.toFixed(2),
      ...(this.viewer.objects ? [object ? percent(this.viewer.objects.coverage(object, field, inside)) : "–"] : []),
      percent(area / (height * width)),
      Number.isNaN(radius) || !measured ? "–" : `${Math.round(radius)} px`,
      ...(hidden ? [] : [this._best(best)]),
    ];
  }

  // The likeliest classes with their probabilities; those below half a percent are left out.
  _best(best) {
    if (!best) return "";
    const [ids, shares] = best;
    const shown = ids.map((id, i) => `${this.viewer.nameOf(id)} ${percent(shares[i])}`);
    return shown.filter((_, i) => shares[i] >= 0.005).join(", ");
  }

  // The colour bar of the heat maps: each picture has its own largest value.
  _showBar() {
    const { pins } = this.viewer.state;
    const heated = this.viewer.scene.rows.some((_, row) => this.viewer.viewOf(row) === "heat");
    const kind = pins.length === 2 ? "signed" : heated ? "heat" : "";
    this.bar.hidden = !kind;
    if (this._barKind === kind || !kind) return;
    this._barKind = kind;
    this.bar.replaceChildren();
    const [low, high] = kind === "heat" ? ["0", "largest value in the panel"] : ["more at B", "more at A"];
    make("span", this.bar, {}, low);
    const scale = make("span", this.bar, { class: "scale" });
    const stops = this.viewer.maps[kind].filter((_, i) => i % 15 === 0);
    scale.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    make("span", this.bar, {}, `${high} (square-root scale)`);
  }
}
