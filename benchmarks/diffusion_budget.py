"""``auto`` inside a budget of the loss, on the diffusion model of digits that comes with the package.

Run: python benchmarks/diffusion_budget.py     (two minutes for each budget on one thread, no data)

The 3 is forgotten. The test images, which model and judge never saw, are held out: half of them steer, half certify.
The judge is asked afterwards, for the table alone. Writes docs/results/diffusion-budget.json after each budget.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from expunge import Budget
from expunge.api.generative.generated import Drawing, GeneratedRows
from expunge.api.unlearning import unlearn
from expunge.demo import diffusion_plan

RESULT = Path(__file__).parents[1] / "docs" / "results" / "diffusion-budget.json"
BUDGETS = (0.05,)
DRAWING = Drawing(forgotten=200, remaining=180)


def score(row: dict[str, Any], key: str) -> float | None:
    """Return the mean of one of a row's scores, None without it."""
    found: float | None = row["scores"].get(key, {}).get("mean")
    return found


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    case = diffusion_plan.case(diffusion_plan.DIGITS, None)
    rows = GeneratedRows(case.split, case.real, case.judge, DRAWING)
    rows.original(case.original)
    found: list[dict[str, Any]] = []
    for allowed in BUDGETS:
        sides = {"forget": case.split.forget, "retain": case.split.retain, "holdout": case.source.test}
        result = unlearn(case.original, **sides, task="diffusion", budget=Budget(relative=allowed))
        rows.unlearned(result.model, f"budget-{allowed:g}", result.method)
        spending = result.budget
        if spending is None:
            continue
        updates = len(result.history)
        found.append({"budget": spending.document(), "search": result.search, "updates": updates})
        drawn = [
            {key: score(row, key) for key in ("generated_ua", "generated_accuracy")} for row in rows.table()["rows"]
        ]
        record = {"study": "diffusion-budget", "command": "python benchmarks/diffusion_budget.py", "images": 200}
        RESULT.write_text(json.dumps({**record, "runs": found, "drawn": drawn}, indent=1) + "\n", encoding="utf-8")
        print(spending.sentence, drawn[-1], flush=True)


if __name__ == "__main__":
    main()
