// Classes by click: those that are pressed are kept, and the line of the config says so.
"use strict";

for (const figure of document.querySelectorAll("figure.classes")) {
  const line = figure.querySelector(".config-line"), classes = [...figure.querySelectorAll("button.class")];
  const tell = () => {
    const kept = classes.filter((one) => one.ariaPressed === "true");
    line.textContent = line.dataset.line.replace("@", `[${kept.map((one) => one.dataset.number).join(", ")}]`);
    figure.querySelector("output").textContent = kept.length
      ? `${kept.reduce((sum, one) => sum + Number(one.dataset.count), 0).toLocaleString("en")} particles are kept`
      : "keep one class at least";
  };
  for (const one of classes)
    one.onclick = () => {
      const kept = one.ariaPressed !== "true";
      one.ariaPressed = String(kept);
      one.querySelector(".judged").textContent = kept ? "kept" : "rejected";
      tell();
    };
  tell();
}
