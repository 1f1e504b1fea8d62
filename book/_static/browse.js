// The retrieval browser: reads RETRIEVAL (data.js, made with the book) and shows what a query finds under each condition.
(() => {
  const root = document.getElementById("browse");
  if (!root || typeof RETRIEVAL === "undefined") return;
  const pictures = root.dataset.pictures;
  const state = { set: 0, query: 0, manip: (RETRIEVAL.conditions[1] ?? RETRIEVAL.conditions[0]).manip, level: 0, tau: RETRIEVAL.tau };

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name in element && name !== "list") element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };
  const manips = [...new Map(RETRIEVAL.conditions.map((c) => [c.manip, c.label])).entries()];
  const levels = () => RETRIEVAL.conditions.filter((c) => c.manip === state.manip);
  const clean = RETRIEVAL.conditions[0].key;
  const photos = () => RETRIEVAL.sets[state.set].photos;
  const query = () => RETRIEVAL.sets[state.set].queries[state.query];
  const said = (at) => `${photos()[at][0]}, view ${Number(photos()[at][1]) + 1}`;
  const ordinal = (n) => `${n}${["th", "st", "nd", "rd"][n % 100 > 10 && n % 100 < 14 ? 0 : n % 10] ?? "th"}`;

  // Controls
  const sets = make("select", { id: "browse-set" }, ...RETRIEVAL.sets.map((s, at) => make("option", { value: at }, s.name)));
  const manip = make("select", { id: "browse-manip" }, ...manips.map(([name, label]) => make("option", { value: name }, label)));
  const level = make("select", { id: "browse-level" });
  const tau = make("input", { id: "browse-tau", type: "range", min: 0.3, max: 1.3, step: 0.01, value: state.tau });
  const tauSaid = make("output", { htmlFor: "browse-tau" });
  const queries = make("div", { className: "browse-queries", role: "group" });
  queries.setAttribute("aria-label", "query photograph");
  const field = (label, control, ...more) => make("div", { className: "browse-field" }, make("label", { htmlFor: control.id }, label), control, ...more);

  // What is shown
  const asIs = make("img", {});
  const asked = make("img", {});
  const askedSaid = make("figcaption");
  const status = make("p", { className: "browse-status", role: "status" });
  const list = make("ol", { className: "browse-results" });
  const lost = make("ol", { className: "browse-results browse-lost" });
  const lostTitle = make("h3", {}, "No longer found");
  root.replaceChildren(
    make("div", { className: "browse-controls" },
      field("photographs", sets), field("manipulation", manip), field("severity", level), field("threshold", tau, tauSaid)),
    queries,
    make("div", { className: "browse-query" },
      make("figure", {}, asIs, make("figcaption", {}, "the photograph as it is")),
      make("figure", {}, asked, askedSaid)),
    status,
    make("h3", {}, "Results, nearest to what was asked first"),
    list, lostTitle, lost);

  const card = (at, distance, note) => {
    const valid = distance < state.tau;
    const item = make("li", { className: valid ? "valid" : "beyond" },
      make("img", { src: pictures + photos()[at][2], alt: said(at), width: 112, height: 112, loading: "lazy" }),
      make("span", { className: "browse-name" }, photos()[at][0]),
      make("span", { className: "browse-distance" }, `${distance.toFixed(2)} ${valid ? "valid" : "too far"}`),
      make("span", { className: "browse-note" }, note));
    item.dataset.photo = at;
    return item;
  };

  // Sideways within the strip alone: the page stays where it is.
  const bringIntoView = (strip, item) => {
    const [seen, box] = [strip.getBoundingClientRect(), item.getBoundingClientRect()];
    if (box.left < seen.left || box.right > seen.right) strip.scrollLeft += box.left - seen.left - (seen.width - box.width) / 2;
  };

  const places = () => new Map([...list.children].map((item) => [item.dataset.photo, item.getBoundingClientRect()]));
  const glide = (before) => {
    if (before.size === 0 || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    for (const item of list.children) {
      const old = before.get(item.dataset.photo);
      const now = item.getBoundingClientRect();
      if (old) item.animate([{ transform: `translate(${old.x - now.x}px, ${old.y - now.y}px)` }, { transform: "none" }], { duration: 350, easing: "ease-out" });
      else item.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 350 });
    }
  };

  const show = () => {
    const here = levels();
    const condition = here[Math.min(state.level, here.length - 1)];
    const first = query().answers[clean];
    const answer = query().answers[condition.key];
    const rank = new Map(first.results.map(([at], place) => [at, place + 1]));
    const before = places();
    asIs.src = pictures + first.picture;
    asIs.alt = `query: ${said(query().photo)}, as it is`;
    asked.src = pictures + answer.picture;
    asked.alt = `what was asked: the same photograph, ${condition.label}`;
    askedSaid.textContent = condition.key === clean ? "what is asked: the same" : `what is asked: ${condition.label}, ${condition.level}`;
    tauSaid.textContent = state.tau.toFixed(2);
    list.replaceChildren(...answer.results.map(([at, distance], place) => {
      const was = rank.get(at);
      return card(at, distance, condition.key === clean ? "" : was === undefined ? "new" : was === place + 1 ? "as before" : `was ${ordinal(was)}`);
    }));
    const found = new Set(answer.results.map(([at]) => at));
    const gone = first.results.filter(([at]) => !found.has(at));
    lost.replaceChildren(...gone.map(([at, distance]) => card(at, distance, `was ${ordinal(rank.get(at))}`)));
    lost.hidden = lostTitle.hidden = gone.length === 0;
    const valid = answer.results.filter(([, d]) => d < state.tau).length;
    const validBefore = first.results.filter(([, d]) => d < state.tau).length;
    status.textContent = condition.key === clean
      ? `${valid} of ${answer.results.length} results are within the threshold of ${state.tau.toFixed(2)}.`
      : `${valid} of ${answer.results.length} results are within the threshold of ${state.tau.toFixed(2)}, ${validBefore} before the manipulation; ${gone.length} were replaced. The embedding moved by ${answer.shift.toFixed(3)} (1 − cosine).`;
    for (const [at, button] of [...queries.children].entries()) button.setAttribute("aria-pressed", String(at === state.query));
    bringIntoView(queries, queries.children[state.query]);
    glide(before);
  };

  const offerLevels = () => {
    level.replaceChildren(...levels().map((c, at) => make("option", { value: at }, c.level)));
    state.level = Math.min(state.level, levels().length - 1);
    level.value = state.level;
    level.disabled = levels().length < 2;
  };
  const offerQueries = () => {
    queries.replaceChildren(...RETRIEVAL.sets[state.set].queries.map((q, at) => {
      const button = make("button", { type: "button" }, make("img", { src: pictures + photos()[q.photo][2], alt: said(q.photo), width: 56, height: 56 }));
      button.addEventListener("click", () => { state.query = at; show(); });
      return button;
    }));
  };
  sets.addEventListener("change", () => { state.set = Number(sets.value); state.query = 0; offerQueries(); show(); });
  manip.addEventListener("change", () => { state.manip = manip.value; offerLevels(); show(); });
  level.addEventListener("change", () => { state.level = Number(level.value); show(); });
  tau.addEventListener("input", () => { state.tau = Number(tau.value); show(); });
  state.query = Math.max(0, RETRIEVAL.sets[0].queries.findIndex((q) => q.category === "motorcycle"));
  manip.value = state.manip;
  offerLevels();
  offerQueries();
  show();
})();
