"""Train the base models of ``expunge demo --task diffusion`` and their judges, and save them where the demo finds them.

    python benchmarks/diffusion_base.py fashion_mnist --data-dir DATA
    python benchmarks/diffusion_base.py digits

The models are class-conditional diffusion models of all training images (Fashion-MNIST 28×28, digits 8×8). A judge is
a ResNet-8 trained on the same training images; how often it is right on test images that neither has seen stands in
the record. The records are merged into ``docs/results/diffusion-base.json``.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from expunge.api.documents import collect_versions, describe_hardware
from expunge.api.generative.diffusion_job import rescale_to_signed
from expunge.api.progress import progress_bar
from expunge.batch import Predictor
from expunge.data import LabeledDataset
from expunge.registry import find_component
from expunge.tasks.classification.training import TrainSettings, train_classifier
from expunge.tasks.diffusion.small_unet import small_ddpm
from expunge.tasks.diffusion.training import DiffusionTrainSettings, train_ddpm
from expunge.weights import save_weights

WHERE = Path(__file__).parents[1] / "src" / "expunge" / "demo" / "models"
RECORD = Path(__file__).parents[1] / "docs" / "results" / "diffusion-base.json"
TRAINING = {
    "fashion_mnist": DiffusionTrainSettings(updates=8000, lr=2e-3, warmup_updates=200, ema_decay=0.999),
    "digits": DiffusionTrainSettings(updates=2000, lr=4e-3, warmup_updates=50, ema_decay=0.995),
}
JUDGING = {
    "fashion_mnist": TrainSettings(epochs=8, batch_size=128, lr=0.1),
    "digits": TrainSettings(epochs=30, batch_size=64, lr=0.1),
}


def judge(name: str, source: LabeledDataset, console: Console) -> dict[str, Any]:
    """Train, save and describe the judge."""
    torch.manual_seed(0)
    model = find_component("models", "resnet8")(len(source.class_names), channels=source.shape[0])
    with progress_bar(console, "Judge", JUDGING[name].epochs) as shown:
        record = train_classifier(model, source.train, JUDGING[name], on_epoch=shown.set_epoch)
    save_weights(model, WHERE / name / "classifier.safetensors", overwrite=True)
    predict, right = Predictor(model.eval()), 0
    with torch.no_grad():
        for positions in torch.arange(len(source.test)).split(1000):
            batch = source.test.batch(positions)
            right += int((predict(batch.inputs).argmax(1) == batch.targets).sum())
    told = {"network": "resnet8", "settings": asdict(JUDGING[name]), "seconds": round(record.seconds, 1)}
    return {**told, "train_accuracy": record.train_accuracy, "test_accuracy": right / len(source.test)}


def base(name: str, source: LabeledDataset, console: Console) -> dict[str, Any]:
    """Train, save and describe the diffusion model."""
    rescale_to_signed(source)
    torch.manual_seed(0)
    model = small_ddpm(source.shape[1]).to(memory_format=torch.channels_last)
    with progress_bar(console, "Diffusion model", TRAINING[name].updates, images=TRAINING[name].batch_size) as shown:
        record = train_ddpm(model, source.train, TRAINING[name], on_update=shown.set_progress)
    model.to(memory_format=torch.contiguous_format).save_pretrained(WHERE / name / "ddpm", overwrite=True)
    count = sum(weight.numel() for weight in model.parameters())
    told = {"weights": count, "settings": asdict(TRAINING[name]), "seconds": round(record.seconds, 1)}
    return {**told, "final_loss": record.final_loss}


def main() -> None:
    """Train one base model with its judge and note the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(TRAINING))
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["classifier", "model"], help="make one of the two, keep the other")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    console, source = Console(), find_component("readers", asked.name)(asked.data_dir)
    (WHERE / asked.name).mkdir(parents=True, exist_ok=True)
    makers = {"judge": judge, "model": base}
    chosen = [asked.only] if asked.only else list(makers)
    record = {name: makers[name](asked.name, source, console) for name in chosen}
    told = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    record = told.get(asked.name, {}) | record
    made = {"hardware": describe_hardware("cpu"), "versions": collect_versions()}
    command = f"python benchmarks/diffusion_base.py {asked.name}"
    told[asked.name] = {**record, "command": command, "train_images": len(source.train), **made}
    RECORD.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
