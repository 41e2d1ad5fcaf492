// The browser part of Picture (picture.py): it draws the picture and reports the selected pixel.

const SVG = "http://www.w3.org/2000/svg";
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const CHANGES = {
  "+": ["grown", 1],
  "=": ["grown", 1], // + without Shift on many keyboards
  "-": ["grown", -1],
  "−": ["grown", -1],
  r: ["turned", 1],
  R: ["turned", -1],
};
const NOTCH = 100; // pixels that one notch of a mouse wheel scrolls

function make(tag, parent, attributes = {}, namespace) {
  const node = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent.append(node);
  return node;
}

const clamp = (value, length) => Math.max(0, Math.min(length - 1, value));

function render({ model, el }) {
  el.classList.add("gcnlab-picture");
  const title = make("div", el, { class: "gcnlab-title" });
  const frame = make("div", el, {
    class: "gcnlab-frame",
    tabindex: "0",
    role: "application",
    "aria-roledescription": "picture with a selectable pixel",
    // Otherwise JupyterLab uses the arrow keys to move between cells.
    "data-lm-suppress-shortcuts": "true",
  });
  const image = make("img", frame, { alt: "", draggable: "false" });
  const svg = make("svg", frame, { preserveAspectRatio: "none", "aria-hidden": "true" }, SVG);
  const outlines = {};
  for (const name of ["item", "region"]) {
    // A dark line below the light one makes it visible on any picture.
    outlines[name] = ["under", "over"].map((layer) =>
      make("path", svg, { class: `gcnlab-${name} gcnlab-${layer}` }, SVG),
    );
  }
  const dot = make("div", frame, { class: "gcnlab-dot" });
  const bar = make("div", make("div", el, { class: "gcnlab-bar", "aria-hidden": "true" }));
  const facts = make("dl", el, { class: "gcnlab-facts" });
  const error = make("p", el, { class: "gcnlab-error", role: "alert" });
  const note = make("p", el, { class: "gcnlab-note" });

  let url = null;
  function drawPicture() {
    const data = model.get("png");
    const old = url;
    url = data && data.byteLength ? URL.createObjectURL(new Blob([data], { type: "image/png" })) : null;
    if (url) image.src = url;
    else image.removeAttribute("src");
    if (old) URL.revokeObjectURL(old);
  }

  function drawRest() {
    const [height, width] = model.get("size");
    const pixel = model.get("pixel");
    title.textContent = model.get("title");
    frame.style.aspectRatio = `${width} / ${height}`;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    for (const name of ["item", "region"]) {
      for (const path of outlines[name]) path.setAttribute("d", model.get(name));
    }
    dot.hidden = pixel.length !== 2;
    let place = "";
    if (pixel.length === 2) {
      dot.style.top = `${((pixel[0] + 0.5) / height) * 100}%`;
      dot.style.left = `${((pixel[1] + 0.5) / width) * 100}%`;
      place = ` Row ${pixel[0]}, column ${pixel[1]}.`;
    }
    frame.setAttribute(
      "aria-label",
      `${model.get("title")}.${place} Arrow keys move the pixel, with Shift by ten pixels. ` +
        "Plus and minus change the object's size. For shapes, R rotates the object.",
    );
    facts.replaceChildren();
    for (const [name, value] of model.get("facts")) {
      make("dt", facts).textContent = name;
      make("dd", facts).textContent = value;
    }
    error.textContent = model.get("error");
    note.textContent = model.get("note");
    bar.style.width = `${100 * model.get("progress")}%`;
    el.classList.toggle("gcnlab-busy", model.get("busy"));
    el.classList.toggle("gcnlab-pending", model.get("pending"));
    el.classList.toggle("gcnlab-failed", Boolean(model.get("error")));
    el.dataset.busy = model.get("busy");
    el.dataset.generation = model.get("generation");
    el.dataset.pixel = pixel.join(",");
  }

  function choose(row, column) {
    const [height, width] = model.get("size");
    const next = [clamp(row, height), clamp(column, width)];
    const now = model.get("pixel");
    if (next[0] === now[0] && next[1] === now[1]) return;
    model.set("pixel", next); // the dot moves at once, even if the kernel is busy
    // Messages of several pictures can arrive out of order, so the kernel compares their times.
    model.set("moment", performance.timeOrigin + performance.now());
    model.save_changes();
  }

  function count(name, steps) {
    model.set(name, model.get(name) + steps);
    model.save_changes();
  }

  function point(event) {
    const box = svg.getBoundingClientRect(); // the displayed box: scaled, zoomed, scrolled
    const [height, width] = model.get("size");
    choose(
      Math.floor(((event.clientY - box.top) / box.height) * height),
      Math.floor(((event.clientX - box.left) / box.width) * width),
    );
  }

  frame.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    frame.setPointerCapture(event.pointerId); // a drag continues outside the picture
    frame.focus({ preventScroll: true });
    point(event);
    event.preventDefault();
  });
  frame.addEventListener("pointermove", (event) => {
    if (frame.hasPointerCapture(event.pointerId)) point(event);
  });
  frame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own
    const step = STEPS[event.key];
    const change = CHANGES[event.key];
    const [row, column] = model.get("pixel");
    if (change) count(...change);
    else if (step && row !== undefined) {
      const far = event.shiftKey ? 10 : 1;
      choose(row + far * step[0], column + far * step[1]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // The wheel changes the object only if the mouse was moved over the picture: scrolling the page, which
  // brings a picture under the mouse, goes on.
  let moved = false;
  let rolled = 0;
  frame.addEventListener("pointerleave", () => (moved = false));
  frame.addEventListener("pointermove", (event) => {
    if (event.movementX || event.movementY) moved = true;
  });
  frame.addEventListener(
    "wheel",
    (event) => {
      if (!moved || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      // Browsers report pixels or lines, and some of them, with Shift, sideways.
      const by = -(event.deltaY || event.deltaX) * (event.deltaMode === 0 ? 1 : NOTCH / 3);
      rolled = rolled * by > 0 ? rolled + by : by; // what is left of the other direction is dropped
      const steps = Math.trunc(rolled / NOTCH);
      rolled -= steps * NOTCH;
      if (steps) count(event.shiftKey ? "turned" : "grown", steps);
    },
    { passive: false },
  );

  model.on("change:png", drawPicture);
  model.on("change", drawRest);
  drawPicture();
  drawRest();
  return () => {
    model.off("change:png", drawPicture);
    model.off("change", drawRest);
    if (url) URL.revokeObjectURL(url);
  };
}

export default { render };
