"""Two processes that answer request files together, as a launcher starts them: ended early, refused, resumed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import killed_runs
import torch
from killed_runs import digests, launches
from rich.console import Console

from expunge.api import run_request
from expunge.engine import CheckpointManager, Interrupted
from expunge.errors import ExpungeError
from expunge.request.config import load_request
from expunge.weights import save


class Killed(BaseException):
    """Stands for a kill of both processes after the same checkpoint."""


class Answers:
    """One of the two processes.

    Args:
        folder: Of the request.
        told: What a launcher would tell it, once for each time that the two meet.
    """

    def __init__(self, folder: Path, told: list[Mapping[str, str]]) -> None:
        self.folder, self.told, self.said = folder, list(told), ""

    def answer(self, out: str, resume: bool = False, **changes: Any) -> str:
        """Answer the request together, and return the sentence of what ended it; nothing where it is done."""
        os.environ.update(self.told.pop())
        config = load_request(self.folder / "request.yaml").model_copy(update={"out": self.folder / out, **changes})
        console = Console(highlight=False, record=True, quiet=False, file=(self.folder / "said").open("a"))
        try:
            run_request(config, resume=resume, console=console)
        except (ExpungeError, Interrupted) as error:
            return str(error).replace(str(self.folder), "…")
        except Killed:
            return "killed"
        finally:
            self.said = console.export_text()
        return ""

    def interrupted(self, out: str, after: int = 3, by: int | None = None, **changes: Any) -> str:
        """Begin a run that ends after so many checkpoints: both processes at once, or one by a signal to itself."""
        saves, real = [], CheckpointManager.save

        def counted(points: CheckpointManager) -> None:
            real(points)
            saves.append(points)
            if len(saves) == after and by is None:
                raise Killed
            if len(saves) == after and os.environ["RANK"] == "1":
                os.kill(os.getpid(), by or 0)

        CheckpointManager.save = counted  # type: ignore[method-assign]
        try:
            return self.answer(out, **changes)
        finally:
            CheckpointManager.save = real  # type: ignore[method-assign]

    def left(self, out: str) -> dict[str, Any]:
        """Return what a run has left."""
        place = self.folder / out
        return {"digests": digests(place), "checkpoints": (place / "checkpoints").exists()}

    def all(self) -> dict[str, Any]:
        """Return what became of every run."""
        straight = self.answer("straight"), self.left("straight")
        killed = self.interrupted("run"), self.answer("run", seed=3, resume=True), self.answer("run")
        resumed = self.answer("run", resume=True), self.left("run")
        done = self.answer("run", resume=True), self.said, self.left("run")
        stopped = self.interrupted("other", by=signal.SIGTERM), self.answer("other", resume=True), self.left("other")
        return {"straight": straight, "killed": killed, "resumed": resumed, "done": done, "stopped": stopped}


MEETINGS = 8


def work(rank: int, folder: str, told: list[list[Mapping[str, str]]]) -> None:
    """Be one of the two processes, and leave what it saw in a file."""
    torch.set_num_threads(1)
    os.chdir(folder)
    os.environ["EXPUNGE_KEY_FILE"] = f"{folder}/key"
    found = Answers(Path(folder), [meeting[rank] for meeting in told]).all()
    Path(f"{folder}/{rank}.json").write_text(json.dumps(found), encoding="utf-8")
    os._exit(0)


def both(folder: Path) -> list[dict[str, Any]]:
    """Let two processes answer the request in a folder again and again, and return what each saw."""
    told = [launches(2) for _ in range(MEETINGS)]
    processes = [killed_runs.SERVER.Process(target=work, args=(rank, str(folder), told)) for rank in range(2)]
    for process in processes:
        process.start()
    killed_runs.ended(processes)
    return [json.loads((folder / f"{rank}.json").read_text(encoding="utf-8")) for rank in range(2)]


def struck(request: str, out: str, environment: Mapping[str, str], number: int) -> None:
    """Answer a request until this process is killed with so many checkpoints written and half of the next one."""
    real, written = save.save_file, []

    def half(tensors: Any, path: Any, metadata: Any = None) -> Any:
        written.append(path)
        if len(written) > number:
            Path(path).write_bytes(b"half of it")
            os.kill(os.getpid(), signal.SIGKILL)
        return real(tensors, path, metadata)

    save.save_file = half
    killed_runs.answer(request, out, environment)


def one_killed_while_writing(request: Path, out: Path, number: int) -> list[int | None]:
    """Start two processes of which the second is killed while it writes; return how they ended."""
    own = {name: value for name, value in os.environ.items() if name.startswith(("EXPUNGE", "OMP"))}
    first, second = ({**own, **told} for told in launches(2))
    given = (str(request), str(out))
    processes = [
        killed_runs.SERVER.Process(target=killed_runs.answer, args=(*given, first)),
        killed_runs.SERVER.Process(target=struck, args=(*given, second, number)),
    ]
    for process in processes:
        process.start()
    killed_runs.ended(processes)
    return [process.exitcode for process in processes]
