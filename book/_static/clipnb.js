// A region that scrolls sideways must be reachable by keyboard; one that does not must not be a stop on the way.
(() => {
  const regions = ".bd-article figure, .bd-article .pst-scrollable-table-container, .bd-article .cell_output, .bd-article div.math, .bd-article pre";
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
