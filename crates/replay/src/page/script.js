"use strict";
// Shows the title of what is pointed at or touched below its picture: titles alone are slow, and touch has none.
(() => {
  let picked = null;
  const show = (event) => {
    const shape = event.target instanceof SVGElement ? event.target.closest("rect, path, circle") : null;
    const title = shape && shape.querySelector("title");
    const readout = shape && shape.closest("figure")?.querySelector(".readout");
    if (!title || !readout || shape === picked) return;
    picked?.classList.remove("picked");
    picked = shape;
    picked.classList.add("picked");
    readout.textContent = title.textContent;
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("click", show);
})();
