"""One stream of the soak test: what it does at random, and the checks at its end."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import sys
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from soak_data import ROWS_PER_CUSTOMER, customer_ids, load_customers, pixel_bytes
from torch import Tensor

from expunge.ledger import Ledger
from expunge.registry import list_entries
from expunge.tasks.classification.models import small_cnn
from expunge.weights import load_weights

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        __name__,
        "sklearn.datasets",
        "sklearn.linear_model",
        "sklearn.svm",
        "torch._dynamo",
        "torch._inductor",
        "jinja2",
        "rich.progress",
        "rich.table",
    ]
)
for _kind in ("tasks", "methods", "models", "readers", "metrics"):
    list_entries(_kind)
for _name in ("cli", "api.run", "api.training", "api.purge", "report.html", "report.terminal"):
    # Imported in the server too, so that commands start at once.
    import_module(f"expunge.{_name}")

NUM_CLASSES = 10
LONGEST_RUN_SECONDS = 2.5
"""Kills fall into this time after a start; most runs take about as long."""
MAX_KILLS = 3
CHANCE_OF_KILL = 0.5
LOST_BY_SERVER = 255
"""What multiprocessing says where its server did not pass the exit code on: the command is run again."""
SIGNIFICANT = 1e-6
"""Level of the test of one deleted set; there are about a thousand in all."""
CLASS_METHODS = ("rl", "salun", "eupmu", "lur", "retrain", "retrain")
REQUEST = """
request: {{title: "{title}", ticket: "{ticket}"}}
model: {{name: small_cnn, options: {{width: 8}}}}
data: {{factory: "soak_data:load_customers", options: {{seed: {seed}}}}}
checkpoint: {checkpoint}
train: {{epochs: 15, batch_size: 20, lr: 0.1}}
forget: {forget}
method: {method}
holdout: 0.3
threads: 1
seed: {seed}
checkpoint_every: {{steps: 5}}
ledger: ledger.sqlite
out: {out}
"""


@dataclass
class Deletion:
    """One request of a stream.

    Args:
        name: Its run folder's name.
        kind: ``class``, ``ids`` or ``indices``.
        rows: Training rows that it deletes.
        label: The class, of a request for a class.
        method: Drawn when the request is written.
    """

    name: str
    kind: str
    rows: Tensor
    label: int | None = None
    method: str = ""


def expunge(arguments: list[str], folder: str, environment: dict[str, str], log: str) -> None:
    """Run the command line in a folder: the body of a process."""
    from expunge.cli import main

    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["expunge", *arguments]
    with open(log, "a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    main()


def warm_up() -> None:
    """Start the server, so that the first stream is not slower than the others."""
    process = SERVER.Process(target=print, args=("soak",))
    process.start()
    process.join()


class Stream:
    """A model, its data and a series of requests to it.

    Args:
        seed: Of the data and of everything drawn.
        folder: An empty folder.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self.folder, self.random = seed, folder, random.Random(seed)
        self.data = load_customers(seed)
        self.train, self.test = self.data["train"], self.data["test"]
        self.deletions: list[Deletion] = []
        self.actions, self.problems = Counter[str](), list[str]()
        self.memory: list[dict[str, Any]] = []
        self.heads = list[str]()
        self.original = folder / "original.safetensors"

    def record(self) -> dict[str, Any]:
        """Return what was done and found."""
        found = {"actions": dict(self.actions), "memory": self.memory, "problems": self.problems}
        return {"seed": self.seed, **found}

    def run(self) -> None:
        """Train, delete, kill, resume, delete again, purge, verify."""
        for number in range(self.random.randint(2, 4)):
            deletion = self.next_deletion(number)
            self.write_request(deletion)
            if not number:
                self.finish(["train", f"{deletion.name}.yaml"], self.original, "train")
                self.original_bytes = self.weight_bytes(self.original)
            self.finish(["run", f"{deletion.name}.yaml", "--resume"], self.answer(deletion), "run")
            self.deletions.append(deletion)
            self.heads.append(Ledger(self.ledger).verify().head)
            self.disturb(deletion)
        self.check_memory()
        for deletion in self.deletions:
            self.purge(deletion)
        self.check_ledger()
        self.check_files()

    @property
    def ledger(self) -> Path:
        """The ledger of all requests."""
        return self.folder / "ledger.sqlite"

    def answer(self, deletion: Deletion) -> Path:
        """Return the file that marks a run as finished."""
        return self.folder / deletion.name / "result.json"

    # Requests

    def next_deletion(self, number: int) -> Deletion:
        """Draw a request for rows that are still there."""
        alive = torch.ones(len(self.train), dtype=torch.bool)
        for earlier in self.deletions:
            alive[earlier.rows] = False
        kind = self.random.choice(["class", "ids", "indices"])
        if kind == "class":
            label = self.random.choice(self.train.targets[alive].unique().tolist())
            return Deletion(f"run{number}", kind, (self.train.targets == label).nonzero().flatten(), label)
        rows = alive.nonzero().flatten().tolist()
        if kind == "indices":
            chosen = sorted(self.random.sample(rows, self.random.randint(5, 40)))
            return Deletion(f"run{number}", kind, torch.tensor(chosen))
        customers = self.random.sample(sorted({row // ROWS_PER_CUSTOMER for row in rows}), self.random.randint(3, 20))
        chosen = [row for row in range(len(self.train)) if row // ROWS_PER_CUSTOMER in customers]
        return Deletion(f"run{number}", kind, torch.tensor(chosen))

    def write_request(self, deletion: Deletion) -> None:
        """Write the request file, and the list that it names."""
        name, listed = deletion.name, self.folder / f"{deletion.name}.txt"
        if deletion.kind == "class":
            forget, deletion.method = f"{{class: {deletion.label}}}", self.random.choice(CLASS_METHODS)
        else:
            rows, ids = deletion.rows.tolist(), customer_ids(self.seed)
            lines = sorted({ids[row] for row in rows}) if deletion.kind == "ids" else rows
            listed.write_text("".join(f"{line}\n" for line in lines))
            forget = f"{{{deletion.kind}: {listed.name}}}"
            deletion.method = "retrain"
        exact, approximate = "epochs: 15, batch_size: 20, lr: 0.1", "epochs: 4, lr: 0.02, batch_size: 32"
        settings = exact if deletion.method == "retrain" else approximate
        method = f"{{name: {deletion.method}, {settings}}}"
        before = f"{self.deletions[-1].name}/unlearned.safetensors" if self.deletions else self.original.name
        text = REQUEST.format(
            title=f"soak title {self.seed} {name}",
            ticket=f"TICKET-{self.seed}-{name}",
            seed=self.seed,
            checkpoint=before,
            forget=forget,
            method=method,
            out=name,
        )
        (self.folder / f"{name}.yaml").write_text(text)

    # Processes

    def start(self, arguments: list[str]) -> BaseProcess:
        """Start a command in a process of its own."""
        environment = {key: value for key, value in os.environ.items() if key.startswith(("EXPUNGE", "OMP", "XDG"))}
        log = str(self.folder.with_suffix(".log"))
        process = SERVER.Process(target=expunge, args=(arguments, str(self.folder), environment, log))
        process.start()
        return process

    def finish(self, arguments: list[str], target: Path, action: str) -> None:
        """Run a command, killed and run again at random, until its file is there."""
        kills = 0
        while True:
            process = self.start(arguments)
            may_be_killed = kills < MAX_KILLS and self.random.random() < CHANCE_OF_KILL
            process.join(self.random.uniform(0, LONGEST_RUN_SECONDS) if may_be_killed else None)
            if process.exitcode is None:
                process.kill()
                process.join()
            self.actions[action if process.exitcode == 0 else f"{action} killed"] += 1
            if process.exitcode == 0:
                break
            if process.exitcode not in (-signal.SIGKILL, LOST_BY_SERVER):
                raise RuntimeError(f"`expunge {' '.join(arguments)}` ended with {process.exitcode}: {self.last_line()}")
            kills += 1
            if action == "train" and target.exists():
                break
        if not target.exists():
            raise RuntimeError(f"`expunge {' '.join(arguments)}` left no {target.name}")

    def refuse(self, arguments: list[str], action: str) -> None:
        """Run a command that has to be refused."""
        process = self.start(arguments)
        process.join()
        while process.exitcode == LOST_BY_SERVER:
            process = self.start(arguments)
            process.join()
        self.actions[action] += 1
        if process.exitcode != 2:
            self.problems.append(f"`expunge {' '.join(arguments)}` ended with {process.exitcode}, not with a refusal")

    def last_line(self) -> str:
        """Return the last line that a command printed."""
        log = self.folder.with_suffix(".log")
        return log.read_text().strip().splitlines()[-1] if log.exists() else ""

    # Disturbances between two requests

    def disturb(self, deletion: Deletion) -> None:
        """Do something that must change nothing, or purge."""
        drawn = self.random.random()
        if drawn < 0.25:
            before = self.tree()
            self.finish(["run", f"{deletion.name}.yaml", "--resume"], self.answer(deletion), "resume of a finished run")
            if self.tree() != before:
                self.problems.append(f"a resume of the finished {deletion.name} changed files")
        elif drawn < 0.5:
            before = self.tree()
            self.refuse(["run", f"{deletion.name}.yaml", "--out", "again"], "served request refused")
            if self.tree() != before:
                self.problems.append(f"a refused repetition of {deletion.name} changed files")
        elif drawn < 0.75:
            self.purge(deletion)
        elif drawn < 0.85:
            head = self.random.choice(self.heads)
            self.finish(["ledger", "verify", "ledger.sqlite", "--expect-head", head], self.ledger, "verify")

    def purge(self, deletion: Deletion) -> None:
        """Purge a run, killed at random; a purge that was killed is repeated."""
        arguments = ["purge", deletion.name, "--ledger", "ledger.sqlite"]
        self.finish(arguments, self.answer(deletion), "purge")

    # Checks

    def check_memory(self) -> None:
        """Compare deleted rows with held-out rows of the same classes, under the last model of the stream."""
        last = self.folder / self.deletions[-1].name / "unlearned.safetensors"
        model = small_cnn(NUM_CLASSES, 1, width=8)
        model.load_state_dict(load_weights(last))
        model.eval()
        held_out = torch.arange(len(self.test))
        for place, deletion in enumerate(self.deletions, start=1):
            z = memory_z(model, self.train, deletion.rows, self.test, held_out)
            if z is None:
                continue
            retrained = any(later.method == "retrain" for later in self.deletions[place - 1 :])
            how = "retrained since" if retrained else "not retrained since"
            self.memory.append({"kind": f"{deletion.kind}, {how}", "later": len(self.deletions) - place, "z": z})
            better = z if retrained else self.accuracy_z(model, deletion)
            if better > stats.norm.isf(SIGNIFICANT):
                self.problems.append(
                    f"{deletion.name} ({deletion.kind}) is remembered better than held-out rows: z = {better:.1f}"
                )

    def accuracy_z(self, model: torch.nn.Module, deletion: Deletion) -> float:
        """Return by how many standard errors more deleted rows of a class are right than held-out ones.

        Approximate methods leave a trace of the class in the losses, as their reports say; they may not leave it in
        what the model answers.
        """
        held_out = (self.test.targets == deletion.label).nonzero().flatten()
        right = [correct(model, self.train, deletion.rows), correct(model, self.test, held_out)]
        p_value = stats.fisher_exact([[part.sum(), len(part) - part.sum()] for part in right], "greater").pvalue
        return float(stats.norm.isf(p_value))

    def check_ledger(self) -> None:
        """Check that the ledger verifies and agrees with the folders."""
        found = Ledger(self.ledger).verify(Path(os.environ["EXPUNGE_KEY_FILE"]).read_bytes(), self.heads[0])
        entries = Ledger(self.ledger).entries()
        kinds = Counter(entry.header.kind for entry in entries)
        if not found.is_valid or not found.seal_holds:
            self.problems.append(f"the ledger does not verify: {found.problems}")
        if kinds["request"] != len(self.deletions):
            self.problems.append(f"{kinds['request']} entries of requests for {len(self.deletions)} runs")
        if kinds["purge"] < len(self.deletions):
            self.problems.append(f"{kinds['purge']} entries of purges for {len(self.deletions)} purged runs")
        requests = [entry for entry in entries if entry.header.kind == "request"]
        for before, after in pairwise(requests):
            if before.header.models.unlearned != after.header.models.original:
                self.problems.append(f"entry {after.number} does not follow entry {before.number}")
        for entry, deletion in zip(requests, self.deletions, strict=False):
            if entry.content.asked.forget != len(deletion.rows):
                self.problems.append(
                    f"entry {entry.number} has {entry.content.asked.forget} rows, not {len(deletion.rows)}"
                )

    def check_files(self) -> None:
        """Look for what should be gone in every file, once the user's own lists and original are removed."""
        self.original.unlink()
        for deletion in self.deletions:
            for name in (f"{deletion.name}.txt", f"{deletion.name}.yaml"):
                (self.folder / name).unlink(missing_ok=True)
        rows = torch.cat([deletion.rows for deletion in self.deletions])
        ids = customer_ids(self.seed)
        gone = {
            "the original's weights": self.original_bytes,
            "deleted rows": pixel_bytes(self.seed, rows),
            "ids of customers": [ids[row].encode() for row in rows.tolist()],
        }
        titles = {"title or ticket": [f"soak title {self.seed}".encode(), f"TICKET-{self.seed}".encode()]}
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder).as_posix()
            if path.is_dir():
                if path.name == "checkpoints":
                    self.problems.append(f"{name} is still there")
                continue
            if path.name.endswith(".tmp") or ".tmp" in path.name:
                self.problems.append(f"{name} is a half-written file")
            content, sought = path.read_bytes(), gone | (titles if path == self.ledger else {})
            self.problems.extend(
                f"{name} holds {what}"
                for what, needles in sought.items()
                if any(needle in content for needle in needles)
            )

    def weight_bytes(self, path: Path) -> list[bytes]:
        """Return the bytes of the larger tensors of a weights file."""
        return [value.numpy().tobytes() for value in load_weights(path).values() if value.numel() >= 64]

    def tree(self) -> dict[str, str]:
        """Return the hash of every file."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def memory_z(model: torch.nn.Module, train: Any, rows: Tensor, test: Any, others: Tensor) -> float | None:
    """Return by how many standard errors deleted rows have lower losses than held-out rows of their classes.

    The statistic is the Mann-Whitney count within each class, added over classes, with its variance under equality.
    """
    deleted, held_out = losses(model, train, rows), losses(model, test, others)
    total, variance = 0.0, 0.0
    for label in np.unique(train.targets[rows]):
        x, y = deleted[train.targets[rows].numpy() == label], held_out[test.targets[others].numpy() == label]
        if not len(x) or not len(y):
            continue
        ranks = stats.rankdata(np.concatenate([-x, -y]))
        total += ranks[: len(x)].sum() - len(x) * (len(x) + 1) / 2 - len(x) * len(y) / 2
        variance += len(x) * len(y) * (len(x) + len(y) + 1) / 12
    return total / variance**0.5 if variance else None


def correct(model: torch.nn.Module, examples: Any, rows: Tensor) -> Any:
    """Return whether the model is right on each example."""
    batch = examples.batch(rows)
    with torch.no_grad():
        return (model(batch.inputs).argmax(1) == batch.targets).numpy()


def losses(model: torch.nn.Module, examples: Any, rows: Tensor) -> Any:
    """Return the cross entropy of each example."""
    batch = examples.batch(rows)
    with torch.no_grad():
        return torch.nn.functional.cross_entropy(model(batch.inputs), batch.targets, reduction="none").numpy()
