"use strict";
const sorter = document.getElementById("sorter");

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
