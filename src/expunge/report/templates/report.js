"use strict";
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const body = table.querySelector("tbody.methods");
  const buttons = table.querySelectorAll("button[data-column]");
  for (const button of buttons) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const head = button.closest("th");
      const downward = head.getAttribute("aria-sort") === "ascending";
      for (const other of buttons) other.closest("th").removeAttribute("aria-sort");
      head.setAttribute("aria-sort", downward ? "descending" : "ascending");
      const value = (row) => {
        const text = row.cells[Number(button.dataset.column)].dataset.value;
        return text === "" ? null : Number(text);
      };
      const order = (one, two) => {
        const [a, b] = [value(one), value(two)];
        if (a === null || b === null) return (a === null) - (b === null);
        return downward ? b - a : a - b;
      };
      body.append(...[...body.rows].sort(order));
    });
  }
}
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
