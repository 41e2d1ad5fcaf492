// What the user takes away: the code that computes the fields, and the pictures as a file.

// The code of every row of the network that is shown, or of the first one; imports stand once, at the top.
function codeOf(viewer) {
  const network = viewer.state.together ? 0 : viewer.state.shown;
  const [pixel] = viewer.selected;
  const { threshold, rule } = viewer.state;
  const codes = viewer.scene.rows
    .map((_, row) => viewer.lookUp(row, network, pixel)?.code)
    .filter(Boolean)
    .map((code) =>
      code
        .replaceAll("{pixel}", `(${pixel.join(", ")})`)
        .replaceAll("{threshold}", String(threshold))
        .replaceAll("{rule}", rule),
    );
  const isImport = (line) => /^(import|from) /.test(line);
  const imports = new Set(codes.flatMap((code) => code.split("\n").filter(isImport)));
  const rest = codes.map((code) => code.split("\n").filter((line) => !isImport(line)).join("\n"));
  if (!rest.length) return "";
  const told = "# model: the network; image: its normalised input (channels, height, width)";
  return [`${told}\n${[...imports].join("\n")}`, ...rest].join("\n\n");
}

// Show the code, and put it on the clipboard if the page may.
async function copyCode(viewer) {
  const code = codeOf(viewer);
  if (!code) return viewer.tellUser("No field is shown yet, so there is no code.", true);
  viewer.code.textContent = code;
  viewer.code.hidden = false;
  try {
    await navigator.clipboard.writeText(code);
    viewer.tellUser("The code is on the clipboard.");
  } catch {
    viewer.tellUser("The code is below; the page may not use the clipboard.");
  }
}

// Save as a file: with a kernel, Python draws it or writes the numbers; otherwise the page's own picture.
async function saveAs(viewer, suffix) {
  if (viewer.kernel) viewer.kernel.save(suffix);
  else download("fields.png", await pictureOf(viewer));
}

// All pictures side by side, with their titles, as the content of a PNG file.
function pictureOf(viewer) {
  const panels = viewer.flat.filter((panel) => !panel.figure.hidden);
  const columns = viewer.state.together ? viewer.scene.networks.length : 1;
  const { width, height } = panels[0].canvas;
  const [gap, line] = [Math.round(width / 30), Math.round(width / 14)];
  const canvas = document.createElement("canvas");
  canvas.width = columns * (width + gap) + gap;
  canvas.height = (panels.length / columns) * (height + line + gap) + gap;
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "black";
  context.font = `${Math.round(line * 0.6)}px system-ui, sans-serif`;
  panels.forEach((panel, i) => {
    const left = gap + (i % columns) * (width + gap);
    const top = gap + Math.floor(i / columns) * (height + line + gap);
    const { networks, rows } = viewer.scene;
    const title = networks[panel.network].title;
    context.fillText(rows.length > 1 ? `${title} · ${rows[panel.row].label}` : title, left, top + line * 0.6, width);
    context.drawImage(panel.canvas, left, top + line);
  });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
