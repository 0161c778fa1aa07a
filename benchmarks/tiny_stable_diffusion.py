"""Teach a tiny Stable Diffusion pipeline captioned pictures, and make it forget some by all that this library has.

    python benchmarks/tiny_stable_diffusion.py teach --data-dir DATA --cache CACHE
    python benchmarks/tiny_stable_diffusion.py study --data-dir DATA --cache CACHE

``teach`` writes the pipeline (``CACHE/pipeline``, the layout of ``save_pretrained``) and its judge
(``CACHE/judge.safetensors``), and ``docs/results/tiny-stable-diffusion-base.json``. ``study`` needs both; a cell that
was made is read, so that a study that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from captioned_pictures import CAPTIONS, CLASSES, GENERAL, pictures
from taught_lessons import teach_autoencoder, teach_denoiser
from taught_parts import pipeline
from taught_study import ASKED, CELLS, EPOCHS, FORGET, FORGOTTEN, GUIDANCE, RETAIN, STEPS, Study, concept
from torch import Tensor, nn

from expunge.api.documents import collect_versions, describe_hardware
from expunge.batch import Examples
from expunge.registry import find_component
from expunge.tasks.classification.training import TrainSettings, train_classifier
from expunge.tasks.diffusion.evaluation import ImageClassifier, LabeledImages
from expunge.weights import load_into, save_weights

Lesson = Callable[[Any, Examples, Callable[[int, int, float], None]], dict[str, Any]]
RESULTS = Path(__file__).parents[1] / "docs" / "results"
BASE, FIGURES = RESULTS / "tiny-stable-diffusion-base.json", RESULTS / "tiny-stable-diffusion.json"
TRAINED, JUDGE = "pipeline", "judge.safetensors"
EACH = {"train": 2500, "test": 500}
"""Photographs of each class."""
JUDGING = TrainSettings(epochs=2, batch_size=128, lr=0.1)
DRAWN = 40
"""Images of each caption that show what the pipeline has learnt."""


def judge_network() -> nn.Module:
    """Return the judge's network: one logit for each caption."""
    found: nn.Module = find_component("models", "resnet8")(len(CAPTIONS), channels=3)
    return found


def judge_of(cache: Path) -> ImageClassifier:
    """Return the judge that ``teach`` has left."""
    network = judge_network()
    load_into(network, cache / JUDGE)
    return ImageClassifier(network.eval(), "resnet8")


def teach_judge(train: Examples, test: Examples, cache: Path) -> dict[str, Any]:
    """Train, save and describe the judge."""
    torch.manual_seed(0)
    network = judge_network()
    record = train_classifier(network, train, JUDGING)
    save_weights(network, cache / JUDGE, overwrite=True)
    answers = torch.from_numpy(
        ImageClassifier(network.eval(), "resnet8")(LabeledImages.from_examples(test).images).classes
    )
    told = {"network": "resnet8", "settings": asdict(JUDGING), "seconds": round(record.seconds, 1)}
    return {**told, "train_accuracy": record.train_accuracy, "test": agreement(answers, test.targets)}


def agreement(found: Tensor, asked: Tensor) -> dict[str, float]:
    """Return how often captions, classes and styles are recognised, in [0, 1]."""
    kinds = len(CLASSES)
    pairs = {"caption": (found, asked)}
    pairs |= {"class": (found % kinds, asked % kinds), "style": (found // kinds, asked // kinds)}
    return {name: float((one == other).float().mean()) for name, (one, other) in pairs.items()}


def drawn(pipe: Any, captions: tuple[str, ...], each: int, seed: int = 0) -> Tensor:
    """Return images ``(n, 3, 32, 32)`` in [0, 1] that the pipeline itself draws, so many of each caption."""
    found = []
    for number, caption in enumerate(captions):
        luck = [torch.Generator().manual_seed(seed + 1000 * number + one) for one in range(each)]
        settings = {"guidance_scale": GUIDANCE, "num_inference_steps": STEPS, "output_type": "pt"}
        found.append(pipe([caption] * each, generator=luck, **settings).images)
    return torch.cat(found)


def teach(data_dir: Path | None, cache: Path) -> dict[str, Any]:
    """Train judge and pipeline, and return the record; a part that is in the cache is not trained again."""
    train, test = (pictures(data_dir, part, each) for part, each in EACH.items())
    pipe = pipeline(word for caption in (*CAPTIONS, *GENERAL) for word in caption.split())
    told: dict[str, Any] = {"judge": once(cache / "judge.json", lambda: teach_judge(train, test, cache))}
    for name, lesson, parts in (
        ("autoencoder", teach_autoencoder, ("vae",)),
        ("denoiser", teach_denoiser, ("text_encoder", "unet")),
    ):
        taught = cache / f"{name}.json"
        if taught.exists():
            load_parts(pipe, parts, cache)
        told[name] = once(taught, lambda lesson=lesson, parts=parts: taught_parts(pipe, lesson, parts, train, cache))
    pipe.save_pretrained(cache / TRAINED)
    return {
        "captions": CAPTIONS,
        "general": GENERAL,
        "train_images": len(train),
        **told,
        "drawn": recognised(pipe, cache),
    }


def once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a file holds, or make it and write it."""
    if not path.exists():
        told = make()
        path.write_text(json.dumps(told))
    found: dict[str, Any] = json.loads(path.read_text())
    print(f"{path.stem}: {found['seconds']:.0f} s", flush=True)
    return found


def taught_parts(pipe: Any, lesson: Lesson, parts: Sequence[str], train: Examples, cache: Path) -> dict[str, Any]:
    """Teach some parts of the pipeline and save them."""
    told = lesson(pipe, train, said)
    for part in parts:
        getattr(pipe, part).save_pretrained(cache / part)
    return told


def load_parts(pipe: Any, parts: Sequence[str], cache: Path) -> None:
    """Put taught parts into the pipeline."""
    for part in parts:
        kind = type(getattr(pipe, part))
        pipe.register_modules(**{part: kind.from_pretrained(cache / part, local_files_only=True).eval()})


def said(done: int, total: int, loss: float) -> None:
    """Print how far a training is."""
    if done % 200 == 0:
        print(f"  {done} of {total}: loss {loss:.4f}", flush=True)


def recognised(pipe: Any, cache: Path) -> dict[str, Any]:
    """Return how well the judge tells the pipeline's images apart."""
    answers = torch.from_numpy(judge_of(cache)(drawn(pipe, CAPTIONS, DRAWN)).classes)
    asked = torch.arange(len(CAPTIONS)).repeat_interleave(DRAWN)
    settings = {"guidance": GUIDANCE, "steps": STEPS, "each": DRAWN}
    return {**settings, **agreement(answers, asked), "of_caption": confusion(answers, asked)}


def confusion(found: Tensor, asked: Tensor) -> list[list[int]]:
    """Return how many images of each caption (rows) were recognised as each (columns)."""
    size = len(CAPTIONS)
    return (asked * size + found).bincount(minlength=size * size).view(size, size).tolist()


def study(data_dir: Path | None, cache: Path, seed: int, *, only_cached: bool) -> dict[str, Any]:
    """Make the cells that are not there, write the grids, and return all figures."""
    made = Study(data_dir, cache, judge_of(cache), seed)
    wanted = [(kind, *cell) for kind in FORGOTTEN for cell in CELLS]
    missing = [] if only_cached else [cell for cell in wanted if not made.has(*cell)]
    # One budget of both requests after the other, so that a study that is stopped has whole tables.
    for kind, name, epochs in sorted(missing, key=lambda cell: (0, *EPOCHS).index(cell[2])):
        found = made.cell(kind, name, epochs)
        told = [found["scores"][key] for key in ("generated_ua", "generated_accuracy")]
        print(f"{kind} {name} {epochs}: UA and kept {told}, {found['seconds']:.0f} s", flush=True)
    requests = {}
    for kind in FORGOTTEN:
        prompts = dict(zip(concept(kind).prompts, concept(kind).anchors, strict=True))
        rows = [made.cell(kind, *cell) for cell in CELLS if made.has(kind, *cell)]
        requests[kind] = {"forgotten": FORGOTTEN[kind], "anchors": prompts, "asked": ASKED[kind], "rows": rows}
        made.grid(kind).write(RESULTS / "images" / f"tiny-stable-diffusion-{kind}.png")
    settings = {"guidance": GUIDANCE, "steps": STEPS, "forget": FORGET, "retain": RETAIN, "seeds": [seed]}
    return {"study": "tiny-stable-diffusion", **settings, "requests": requests}


def main() -> None:
    """Teach the pipeline, or make it forget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("teach", "study"))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the unlearning")
    parser.add_argument("--only-cached", action="store_true", help="write what is there and make no more cells")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    asked.cache.mkdir(parents=True, exist_ok=True)
    if asked.verb == "teach":
        target, found = BASE, teach(asked.data_dir, asked.cache)
    else:
        target, found = FIGURES, study(asked.data_dir, asked.cache, asked.seed, only_cached=asked.only_cached)
    command = f"python benchmarks/tiny_stable_diffusion.py {asked.verb}"
    record = {"command": command, **found, "hardware": describe_hardware("cpu"), "versions": collect_versions()}
    target.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
