// The slider of manipulations: reads SLIDER (data.js, made with the book) and shows one photograph at the severity chosen.
(() => {
  const root = document.getElementById("slider");
  if (!root || typeof SLIDER === "undefined") return;
  const make = (tag, attributes = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), attributes);
    element.append(...children);
    return element;
  };
  const manip = make("select", { id: "slider-manip" }, ...SLIDER.map((m, at) => make("option", { value: at }, m.label)));
  const severity = make("input", { id: "slider-severity", type: "range", min: 0, max: SLIDER[0].pictures.length - 1, step: 1, value: 3 });
  const number = make("output", { htmlFor: "slider-severity" });
  const picture = make("img", {});
  const said = make("p", { className: "slider-said" });
  said.setAttribute("role", "status");
  const field = (label, control, ...more) =>
    make("div", { className: "browse-field" }, make("label", { htmlFor: control.id }, label), control, ...more);
  root.replaceChildren(
    make("div", { className: "browse-controls" }, field("manipulation", manip), field("severity", severity, number)),
    make("div", { className: "slider-picture" }, picture), said);
  const show = () => {
    const { label, pictures } = SLIDER[manip.value];
    const [file, value, width, height] = pictures[severity.value];
    Object.assign(picture, { src: root.dataset.pictures + file, width, height });
    picture.alt = severity.value === "0" ? "a motorcycle, the photograph as it is" : `a motorcycle, ${label}, severity ${severity.value}`;
    number.textContent = severity.value;
    severity.setAttribute("aria-valuetext", `${severity.value}: ${value}`);
    said.textContent = severity.value === "0" ? value : `${label}, ${value}`;
  };
  manip.addEventListener("change", show);
  severity.addEventListener("input", show);
  show();
})();
