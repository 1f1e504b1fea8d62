// The retrieval browser: reads RETRIEVAL (data.js, made with the book) and shows what a photograph finds under an edit.
// The address of the page keeps the state: a link leads to the same results.
(() => {
  const root = document.getElementById("browse");
  if (!root || typeof RETRIEVAL === "undefined") return;
  const pictures = root.dataset.pictures;
  const { conditions, sets, start } = RETRIEVAL;
  const clean = conditions[0].key;
  const at = (key) => Math.max(0, conditions.findIndex((c) => c.key === key));

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name in element && name !== "list") element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };
  const field = (label, control, ...more) => make("div", { className: "browse-field" }, make("label", { htmlFor: control.id }, label), control, ...more);
  const choice = (id, options) => make("select", { id }, ...options.map(([value, label]) => make("option", { value }, label)));
  const ordinal = (n) => `${n}${["th", "st", "nd", "rd"][n % 100 > 10 && n % 100 < 14 ? 0 : n % 10] ?? "th"}`;

  // State, and its form in the address: #set=sample-figures&photo=motorcycle/003&edit=blurred/5&beside=original&tau=0.80
  const name = (photo) => sets[state.set].photos[photo].slice(0, 2).join("/");
  const usual = { set: 0, photo: start.query, key: start.key, beside: start.beside, tau: RETRIEVAL.tau };
  const state = { ...usual };
  const read = () => {
    const given = new URLSearchParams(location.hash.slice(1));
    Object.assign(state, usual);
    if (!given.has("set")) return;
    state.set = Math.max(0, sets.findIndex((s) => s.name === given.get("set")));
    state.photo = Math.max(0, sets[state.set].photos.findIndex((_, photo) => name(photo) === given.get("photo")));
    state.key = conditions[at(given.get("edit"))].key;
    state.beside = conditions.some((c) => c.key === given.get("beside")) ? given.get("beside") : "";
    state.tau = Math.min(1.4, Math.max(0, Number(given.get("tau") ?? RETRIEVAL.tau) || 0));
  };
  const keep = (asNewPage) => {
    const now = new URLSearchParams({ set: sets[state.set].name, photo: name(state.photo), edit: state.key, tau: state.tau.toFixed(2) });
    if (state.beside) now.set("beside", state.beside);
    history[asNewPage ? "pushState" : "replaceState"](null, "", `#${now.toString().replaceAll("%2F", "/")}`);
  };

  // Controls
  const kinds = () => [...new Set(sets[state.set].photos.map(([kind]) => kind))];
  const set = choice("browse-set", sets.map((s, i) => [i, s.name]));
  const kind = choice("browse-kind", []);
  const manip = choice("browse-manip", [...new Map(conditions.map((c) => [c.manip, c.label]))]);
  const level = choice("browse-level", []);
  const beside = choice("browse-beside", [["", "nothing"], ...conditions.map((c) => [c.key, c.key === clean ? c.label : `${c.label}: ${c.level}`])]);
  const strip = make("div", { className: "browse-queries", role: "group" });
  const tau = make("input", { id: "browse-tau", type: "range", min: 0, max: 1.4, step: 0.01 });
  const tauSaid = make("output", { htmlFor: "browse-tau" });
  const dots = make("div", { className: "browse-dots" });
  const columns = make("div", { className: "browse-columns" });
  root.replaceChildren(
    make("div", { className: "browse-controls" },
      field("photographs", set), field("kind", kind), field("edit", manip), field("strength", level), field("side by side with", beside)),
    strip,
    make("div", { className: "browse-line" },
      make("label", { htmlFor: "browse-tau" }, "threshold: the L2 distance to the unedited photograph below which a result is valid ", tauSaid), dots, tau),
    columns);

  const card = (photo, note, query, extra = "") => {
    const [category, number, file] = sets[state.set].photos[photo];
    const words = `${category}, view ${Number(number) + 1}`;
    const button = make("button", { type: "button", title: "search with this photograph" },
      make("img", { src: pictures + file, alt: words, width: 112, height: 112, loading: "lazy" }));
    button.addEventListener("click", () => { state.photo = photo; keep(true); show(); root.scrollIntoView({ block: "nearest" }); });
    const stranger = category === sets[state.set].photos[query][0] ? "" : " another kind";
    return make("li", { className: `${extra}${stranger ? " stranger" : ""}` }, button, make("span", { className: "browse-name" }, category), ...note);
  };

  const column = (condition, first) => {
    const answer = sets[state.set].queries[state.photo][condition.key];
    const before = sets[state.set].queries[state.photo][clean];
    const rank = new Map(before.results.map(([photo], place) => [photo, place + 1]));
    const list = make("ol", { className: "browse-results" }, ...answer.results.map(([photo, distance], place) => {
      const valid = distance < state.tau;
      const was = rank.get(photo);
      const moved = condition.key === clean || was === place + 1 ? "" : was === undefined ? "new" : `was ${ordinal(was)}`;
      const item = card(photo, [
        make("span", { className: "browse-distance" }, `${distance.toFixed(2)} ${valid ? "valid" : "too far"}`),
        make("span", { className: "browse-note" }, moved)], state.photo, valid ? "valid" : "beyond");
      item.dataset.photo = photo;
      return item;
    }));
    // The original is not among the results; it is shown at its rank in the gallery.
    const original = card(state.photo, [make("span", { className: "browse-note" }, `the original: ${ordinal(answer.rank)}`)], state.photo, "original");
    list.insertBefore(original, list.children[Math.min(answer.rank - 1, list.children.length)] ?? null);
    const now = new Set(answer.results.map(([photo]) => photo));
    const gone = before.results.filter(([photo]) => !now.has(photo));
    const count = (pairs) => pairs.filter(([, d]) => d < state.tau).length;
    const sameKind = answer.results.filter(([photo]) => sets[state.set].photos[photo][0] === sets[state.set].photos[state.photo][0]).length;
    const words = [
      `The original is the ${ordinal(answer.rank)} result.`,
      `${sameKind} of the ${answer.results.length} others show its kind.`,
      `${count(answer.results)} of ${answer.results.length} results are within the threshold` + (condition.key === clean ? "." : `, ${count(before.results)} without the edit.`),
    ];
    const said = make("p", { className: "browse-status" }, words.join(" "));
    if (first) said.setAttribute("role", "status");
    const title = condition.key === clean ? "the photograph as it is" : `${condition.label}: ${condition.level}`;
    const part = make("section", {},
      make("figure", { className: "browse-asked" },
        make("img", { src: pictures + answer.picture, alt: `query: ${name(state.photo)}, ${title}` }), make("figcaption", {}, title)),
      said, list);
    if (gone.length) {
      part.append(make("h3", {}, "No longer among the results"), make("ol", { className: "browse-results browse-lost" }, ...gone.map(([photo, distance]) => {
        const item = card(photo, [make("span", { className: "browse-note" }, `was ${ordinal(rank.get(photo))}, ${distance.toFixed(2)}`)], state.photo);
        item.dataset.photo = photo;
        return item;
      })));
    }
    return part;
  };

  // Sideways within the strip alone: the page stays where it is.
  const bringIntoView = (item) => {
    const [seen, box] = [strip.getBoundingClientRect(), item.getBoundingClientRect()];
    if (box.left < seen.left || box.right > seen.right) strip.scrollLeft += box.left - seen.left - (seen.width - box.width) / 2;
  };

  const drawLine = () => {
    const answer = sets[state.set].queries[state.photo][state.key];
    const own = sets[state.set].photos[state.photo][0];
    const part = (value) => `${(100 * value) / 1.4}%`;
    dots.replaceChildren(
      make("span", { className: "browse-threshold", style: `left: ${part(state.tau)}` }),
      ...answer.results.map(([photo, distance]) => make("span", {
        className: sets[state.set].photos[photo][0] === own ? "browse-dot" : "browse-dot stranger", style: `left: ${part(Math.min(distance, 1.4))}` })));
    tau.value = state.tau;
    tauSaid.textContent = state.tau.toFixed(2);
  };

  const show = () => {
    const condition = conditions[at(state.key)];
    const own = sets[state.set].photos[state.photo][0];
    set.value = state.set;
    kind.replaceChildren(...kinds().map((value) => make("option", { value }, value)));
    kind.value = own;
    manip.value = condition.manip;
    const levels = conditions.filter((c) => c.manip === condition.manip);
    level.replaceChildren(...levels.map((c) => make("option", { value: c.key }, c.level)));
    level.value = condition.key;
    level.disabled = levels.length < 2;
    beside.value = state.beside;
    strip.setAttribute("aria-label", `photographs of the kind ${own}`);
    strip.replaceChildren(...sets[state.set].photos.flatMap(([category, number, file], photo) => {
      if (category !== own) return [];
      const button = make("button", { type: "button" }, make("img", { src: pictures + file, alt: `${category}, view ${Number(number) + 1}`, width: 56, height: 56 }));
      button.dataset.photo = photo;
      button.setAttribute("aria-pressed", String(photo === state.photo));
      button.addEventListener("click", () => { state.photo = photo; keep(true); show(); });
      return [button];
    }));
    bringIntoView(strip.querySelector("[aria-pressed=true]"));
    drawLine();
    columns.replaceChildren(column(condition, true), ...(state.beside ? [column(conditions[at(state.beside)], false)] : []));
    columns.classList.toggle("two", Boolean(state.beside));
  };

  const change = (control, event, apply) => control.addEventListener(event, () => { apply(control.value); keep(false); show(); });
  change(set, "change", (value) => { state.set = Number(value); state.photo = 0; });
  change(kind, "change", (value) => { state.photo = sets[state.set].photos.findIndex(([category]) => category === value); });
  change(manip, "change", (value) => { state.key = conditions.filter((c) => c.manip === value).at(-1).key; });
  change(level, "change", (value) => { state.key = value; });
  change(beside, "change", (value) => { state.beside = value; });
  change(tau, "input", (value) => { state.tau = Number(value); });
  addEventListener("popstate", () => { read(); show(); });
  addEventListener("hashchange", () => { read(); show(); });
  read();
  show();
})();
