// What the page's other scripts share: reading what is packed into the page, and copying a line.
"use strict";

const page = {
  // The bytes of a text in base64, which are deflated unless `plain`.
  async bytes(text, plain) {
    const raw = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    if (plain) return raw;
    const stream = new Blob([raw]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  },

  // The data that a figure carries.
  data: (figure) => JSON.parse(figure.querySelector("script[type='application/json']").textContent),

  // A number with three digits, and no more zeros than needed.
  three: (value) => String(Number(value.toPrecision(3))),

  // What a person reads of a volume in cubic Å.
  volume: (value) => `${page.three(value / 1000)} nm³`,

  copy(button) {
    const line = button.previousElementSibling;
    const said = (word) => {
      button.textContent = word;
      setTimeout(() => (button.textContent = "Copy"), 1500);
    };
    const selected = () => {
      getSelection().selectAllChildren(line);
      said(document.execCommand("copy") ? "Copied" : "Selected");
    };
    if (navigator.clipboard) navigator.clipboard.writeText(line.textContent).then(() => said("Copied"), selected);
    else selected();
  },
};

for (const button of document.querySelectorAll("button.copy")) button.onclick = () => page.copy(button);
