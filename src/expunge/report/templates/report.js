"use strict";
const sorter = document.getElementById("sorter");
const made = (parent, name, attributes) => {
  const element = document.createElementNS(parent.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return parent.appendChild(element);
};

/* Tables: a button in each heading. The lines of original and retrained stay where they are. */
const number = (cell) => {
  const text = cell.dataset.value ?? cell.textContent.trim().replace("−", "-").replaceAll(",", "");
  return text === "" ? NaN : Number(text);
};
const COLLATOR = new Intl.Collator(undefined, { numeric: true });
const sorted = (rows, column, downward) => {
  const words = rows.every((row) => row.cells[column].matches("th") || isNaN(number(row.cells[column])));
  const order = (one, two) => {
    const [a, b] = [one.cells[column], two.cells[column]];
    if (words) return COLLATOR.compare(a.textContent.trim(), b.textContent.trim()) * (downward ? -1 : 1);
    const [x, y] = [number(a), number(b)];
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
    return downward ? y - x : x - y;
  };
  return [...rows].sort(order);
};
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.querySelector("tbody.methods") ?? table.tBodies[0];
  if (body.rows.length < 2) continue;
  heads.forEach((head, column) => {
    const button = sorter.content.firstElementChild.cloneNode(true);
    button.setAttribute("aria-label", `Sort by ${head.textContent.trim().replace(/\s+/g, " ")}`);
    head.append(button);
    button.addEventListener("click", () => {
      const downward = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", downward ? "descending" : "ascending");
      body.append(...sorted([...body.rows], column, downward));
    });
  });
}

/* Figures: the nearest mark or step is read out under the figure, by pointer or by the arrow keys. */
const short = (value) => {
  if (value !== 0 && Math.abs(value) < 1e-4) return value > 0 ? "< 0.0001" : "> −0.0001";
  const digits = Math.abs(value) >= 999.5 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 };
  return value.toLocaleString("en-US", digits).replace("-", "−");
};
const back = (ends) => {
  const [low, high, start, end] = ends.split(" ").map(Number);
  return (pixel) => low + ((pixel - start) / (end - start)) * (high - low);
};
const marks = (drawing) =>
  [...drawing.querySelectorAll("g[data-x]")].map((mark) => ({
    x: Number(mark.dataset.x),
    y: Number(mark.dataset.y),
    text: mark.querySelector("title").textContent,
  }));
const steps = (drawing) => {
  const [across, upwards] = [back(drawing.dataset.across), back(drawing.dataset.upwards)];
  const found = new Map();
  for (const curve of drawing.querySelectorAll("polyline.curve")) {
    for (const point of curve.points) {
      const step = Math.round(across(point.x));
      const said = `${curve.dataset.name} ${short(upwards(point.y))}`;
      const known = found.get(step);
      if (known) known.text += `, ${said}`;
      else found.set(step, { x: point.x, y: point.y, text: `step ${step}: ${said}` });
    }
  }
  return [...found.values()].sort((one, two) => one.x - two.x);
};
const MOVES = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
for (const drawing of document.querySelectorAll("svg.drawing")) {
  const narrow = "across" in drawing.dataset;
  const stops = narrow ? steps(drawing) : marks(drawing);
  if (!stops.length) continue;
  const hint = narrow ? "" : "Point at a mark, or use the arrow keys.";
  const reading = made(drawing.parentElement, "p", { class: "reading", "aria-live": "polite" });
  const pointer = made(drawing, "circle", { class: "pointer", r: narrow ? 3 : 8, visibility: "hidden" });
  drawing.after(reading);
  drawing.setAttribute("tabindex", "0");
  reading.textContent = hint;
  let at = -1;
  const tell = (place) => {
    at = place;
    const stop = stops[at];
    reading.textContent = stop ? stop.text : hint;
    reading.classList.toggle("told", Boolean(stop));
    pointer.setAttribute("visibility", stop ? "visible" : "hidden");
    if (stop) for (const [name, value] of [["cx", stop.x], ["cy", stop.y]]) pointer.setAttribute(name, value);
  };
  const point = (event) => {
    const here = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
    const far = (stop) => Math.hypot(stop.x - here.x, narrow ? 0 : stop.y - here.y);
    const nearest = stops.reduce((best, stop, place) => (far(stop) < far(stops[best]) ? place : best), 0);
    tell(narrow || far(stops[nearest]) < 40 ? nearest : -1);
  };
  drawing.addEventListener("pointermove", point);
  drawing.addEventListener("pointerdown", point);
  drawing.addEventListener("pointerleave", () => document.activeElement === drawing || tell(-1));
  drawing.addEventListener("focus", () => at < 0 && tell(0));
  drawing.addEventListener("blur", () => tell(-1));
  drawing.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tell(-1);
    if (!(event.key in MOVES)) return;
    event.preventDefault();
    tell(Math.min(Math.max(at + MOVES[event.key], 0), stops.length - 1));
  });
}

/* On paper nothing can be unfolded. */
const folded = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    details.open = true;
    folded.push(details);
  }
});
addEventListener("afterprint", () => {
  for (const details of folded.splice(0)) details.open = false;
});
