// A region that scrolls sideways must be reachable by keyboard; one that does not must not be a stop on the way.
(() => {
  const regions = ".bd-article .pst-scrollable-table-container, .bd-article .cell_output, .bd-article div.math, .bd-article pre";
  const settle = () => {
    for (const region of document.querySelectorAll(regions)) {
      const wide = region.scrollWidth > region.clientWidth + 1;
      region.classList.toggle("scrolls", wide);
      if (wide) region.tabIndex = 0;
      else if (region.getAttribute("tabindex") === "0" && region.tagName !== "PRE") region.removeAttribute("tabindex");
    }
  };
  addEventListener("load", settle);
  addEventListener("resize", settle);
})();

// On a phone a figure fits the screen; its link opens it alone, where two fingers enlarge it.
addEventListener("DOMContentLoaded", () => {
  if (!matchMedia("(max-width: 600px)").matches) return;
  for (const image of document.querySelectorAll(".bd-article figure[id] img")) {
    if (image.closest("a")) continue;
    const link = document.createElement("a");
    link.href = image.src;
    image.replaceWith(link);
    link.append(image);
  }
});

// The tables of the leaderboard are sorted by a column when its head is chosen, and the other way when it is chosen again.
addEventListener("DOMContentLoaded", () => {
  const key = cell => parseFloat(cell.textContent.replace("\u2212", "-").replace(/[^\d.-]*/, ""));
  for (const head of document.querySelectorAll("#leaderboard-of-encoders th")) {
    const button = document.createElement("button");
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falls = head.ariaSort === "descending", column = head.cellIndex, body = head.closest("table").tBodies[0];
      for (const other of head.parentElement.cells) other.ariaSort = null;
      head.ariaSort = falls ? "ascending" : "descending";
      const order = (a, b) => key(a) - key(b) || a.textContent.localeCompare(b.textContent);
      body.append(...[...body.rows].sort((a, b) => order(a.cells[column], b.cells[column]) * (falls ? 1 : -1)));
    });
  }
});
