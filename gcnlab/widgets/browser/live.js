// The viewer in JupyterLab: what to show comes from the kernel as messages (gcnlab/widgets/viewer.py).

function render({ model, el }) {
  const id = Math.random().toString(36).slice(2);
  let [viewer, queue] = [null, Promise.resolve()];
  const kernel = {
    change: (changes) => model.send({ kind: "change", changes, view: id }),
    add: (name, content) => model.send({ kind: "file", name, view: id }, undefined, [content]),
    save: (suffix) => model.send({ kind: "save", suffix, view: id }),
  };
  const handlers = {
    scene: async ({ scene }) => {
      const [ready, picture] = await Promise.all([unpack(scene), loadImage(scene.picture)]);
      const own = viewer?.own;
      viewer?.remove();
      viewer = new Viewer(shadowOf(el, model.get("stylesheet")), ready, picture, kernel);
      if (own) viewer.adopt(own);
      el.viewer = viewer;
    },
    controls: ({ controls }) => viewer.setControls(controls),
    problem: ({ text, error }) => viewer.tellUser(text, error),
    saved: ({ name }, [content]) => download(name, new Blob([bytesIn(content)])),
    // The user of this view may have gone on since it reported what the kernel answers.
    state: ({ state, origin }) => {
      viewer.set(origin === id ? { occluder: state.occluder, question: state.question } : state);
    },
    prediction: async ({ network, prediction }) => viewer.setPrediction(network, await unpack(prediction)),
    atlas: async ({ network, facts }, [numbers]) =>
      viewer.setAtlas(network, await unpack(facts), bytesIn(numbers)),
    keep: ({ occluders }) => viewer.keepAtlases(occluders),
    status: ({ row, network, status }) => viewer.setStatus(row, network, status),
    answer: ({ row, network, answer }, [values]) => {
      const bytes = bytesIn(values).slice();
      const numbers = bytes.length ? new Float32Array(bytes.buffer) : null;
      viewer.setAnswer(row, network, { ...answer, values: numbers });
    },
  };
  // A message waits for the one before it, because a scene takes some time to unpack.
  function receive(message, buffers) {
    if (message.to && message.to !== id) return;
    // Without a scene, this view is new, and everything is going to be sent to it.
    if (!message.to && !viewer && message.kind !== "scene") return;
    queue = queue
      .then(() => handlers[message.kind](message, buffers))
      .catch((error) => console.error(`gcnlab: ${message.kind} could not be shown`, error));
  }
  // Otherwise JupyterLab uses keys such as the arrows for the notebook's cells.
  el.dataset.lmSuppressShortcuts = "true";
  model.on("msg:custom", receive);
  model.send({ kind: "ready", view: id });
  return () => {
    model.off("msg:custom", receive);
    viewer?.remove();
  };
}

function bytesIn(view) {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

export default { render };
