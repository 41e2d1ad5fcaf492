// Small helpers of the explorer's page elements.

function make(tag, parent, attributes = {}, text = "") {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  parent.append(node);
  return node;
}

// Set the text of an element if it is another one: setting it makes the browser lay out the page again.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const clamp = (value, length) => Math.max(0, Math.min(length - 1, value));
const percent = (share) => `${Math.round(100 * share)} %`;
const same = (a, b) => a && b && a[0] === b[0] && a[1] === b[1];
