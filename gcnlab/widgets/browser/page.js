// Starts the viewer in a page without a kernel: every element that waits for it gets its own.

// Replace packed arrays, {type, bytes}, by typed arrays.
async function unpack(value) {
  if (value === null || typeof value !== "object") return value;
  if (value.type && value.bytes) {
    const bytes = await bytesOf(value.bytes);
    const Kind = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array }[value.type];
    return new Kind(bytes.buffer);
  }
  if (Array.isArray(value)) return Promise.all(value.map(unpack));
  const pairs = Object.entries(value).map(async ([name, inner]) => [name, await unpack(inner)]);
  return Object.fromEntries(await Promise.all(pairs));
}

async function loadImage(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

// A place for the viewer that the page's style sheets do not reach, in the colours of the page.
function shadowOf(host, css) {
  const root = host.shadowRoot || host.attachShadow({ mode: "open" });
  root.replaceChildren();
  make("style", root, {}, css);
  const colour = getComputedStyle(host).color.match(/[\d.]+/g) || [0, 0, 0];
  const light = colour.slice(0, 3).reduce((sum, part) => sum + Number(part), 0) > 382;
  host.style.colorScheme = light ? "dark" : "light";
  return root;
}

async function openPage(host, { scene, atlases, css }) {
  try {
    const [ready, picture] = await Promise.all([unpack(scene), loadImage(scene.picture)]);
    const viewer = new Viewer(shadowOf(host, css), ready, picture);
    host.viewer = viewer;
    for (const { network, facts, numbers } of atlases) {
      viewer.setAtlas(network, await unpack(facts), await bytesOf(numbers));
    }
    host.dataset.ready = "true";
  } catch (error) {
    // The still picture stays; it is better than an empty place.
    host.dataset.ready = "false";
    console.error("gcnlab: the explorer could not be started", error);
  }
}
