"""DDPM: a denoising network that knows classes, with its noise schedule beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from expunge.errors import CheckpointError, ModelError
from expunge.tasks.diffusion.denoiser import Denoiser, check_prediction_type
from expunge.tasks.diffusion.folders import atomic_folder
from expunge.tasks.diffusion.optional import import_diffusers
from expunge.tasks.pretrained import check_pretrained, find_variant, library_error_translation

UNET_FOLDER, EMA_FOLDER, SCHEDULER_FOLDER = "unet", "unet_ema", "scheduler"
"""Folders of a ``save_pretrained`` layout."""
CLASSES_FILE, MAX_CLASSES_FILE_BYTES = "classes.json", 1000
"""The file with the number of classes, and the bytes of it that are read at most."""


class DDPM(Denoiser):
    """A class-conditional denoising diffusion model: ε(x_t, t, c), and the schedule that made x_t.

    Called like its network, it returns the predicted noise ``(n, channels, height, width)``.

    Paper: "Denoising Diffusion Probabilistic Models" (Ho et al., NeurIPS 2020, arXiv 2006.11239); the class that says
    nothing: "Classifier-Free Diffusion Guidance" (Ho and Salimans, 2022, arXiv 2207.12598).

    Args:
        unet: A network with a class embedding, usually diffusers' ``UNet2DModel`` with ``num_class_embeds``.
        scheduler: diffusers' ``DDPMScheduler`` or ``DDIMScheduler``.
        classes: Number of classes of the data. Default: one less than the network embeds, as its last one is the null
            class of classifier-free guidance. All that it embeds: there is no null class.

    Raises:
        ModelError: If the network embeds no classes or other numbers of them, or predicts something else than noise.
    """

    def __init__(self, unet: nn.Module, scheduler: Any, classes: int | None = None) -> None:
        super().__init__()
        num_embeddings = getattr(getattr(unet, "config", None), "num_class_embeds", None)
        if not num_embeddings:
            hint = "build it with num_class_embeds, one more than there are classes"
            raise ModelError("a network that embeds classes", type(unet).__name__, hint)
        self.classes = num_embeddings - 1 if classes is None else classes
        if not 1 <= self.classes <= num_embeddings <= self.classes + 1:
            actual = f"{num_embeddings} for {self.classes} classes"
            raise ModelError("an embedding for each class and perhaps one for none", actual, "pass classes=")
        check_prediction_type(scheduler)
        self.unet, self.scheduler = unet, scheduler

    @property
    def null_class(self) -> int | None:
        """The class that says nothing, or None where the network has not learnt one."""
        config: Any = self.unet.config
        return self.classes if config.num_class_embeds > self.classes else None

    @property
    def sample_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of its images."""
        config: Any = self.unet.config
        size = config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return config.in_channels, height, width

    def forward(self, sample: Tensor, timestep: Tensor, class_labels: Tensor) -> Tensor:
        """Return the noise that the network sees in the samples."""
        output = self.unet(sample, timestep, class_labels)
        noise: Tensor = getattr(output, "sample", output)
        return noise

    def save_pretrained(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write ``unet/`` and ``scheduler/`` in diffusers' layout, weights as safetensors; all of it or nothing.

        ``classes.json`` beside them holds the number of classes.

        Args:
            folder: Where; it must not be there.
            overwrite: Whether a folder of that name may be replaced. Default false.

        Raises:
            CheckpointError: If the folder is there and may not be replaced.
        """
        target = Path(folder)
        with atomic_folder(target, overwrite=overwrite) as temporary:
            self.unet.save_pretrained(temporary / UNET_FOLDER, safe_serialization=True)  # type: ignore[operator]
            self.scheduler.save_pretrained(temporary / SCHEDULER_FOLDER)
            # The layout has no place for it, and a model without a null class embeds as many as one with a null class.
            (temporary / CLASSES_FILE).write_text(json.dumps({"classes": self.classes}) + "\n", encoding="utf-8")
        return target

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], classes: int | None = None) -> DDPM:
        """Return the model in a folder of diffusers' layout; nothing is downloaded and no pickle opened.

        Where training left averaged weights beside the others (``unet_ema/``), these are the model: they are what its
        images are drawn with, and so what has to forget.

        Args:
            folder: Holds ``unet/`` or ``unet_ema/``, and ``scheduler/``.
            classes: See ``DDPM``. Default: what ``save_pretrained`` noted, if it made the folder.

        Raises:
            CheckpointError: If something is missing or unreadable.
            MissingExtraError: If diffusers is not installed.
        """
        path, library = Path(folder), import_diffusers("reading a diffusion model")
        network = path / EMA_FOLDER if (path / EMA_FOLDER).is_dir() else path / UNET_FOLDER
        for part in (network, path / SCHEDULER_FOLDER):
            if not part.is_dir():
                raise CheckpointError(f"a folder '{part.name}' in '{path}'", "none", "pass a save_pretrained folder")
        check_pretrained(path, network.name, SCHEDULER_FOLDER)
        hint = "save it again with safe_serialization=True"
        with library_error_translation("a readable UNet2DModel with safetensors weights", hint):
            variant = find_variant(network)
            variant_options = {} if variant is None else {"variant": variant}
            unet = library.UNet2DModel.from_pretrained(
                network, use_safetensors=True, local_files_only=True, **variant_options
            )
            scheduler = library.DDPMScheduler.from_pretrained(path / SCHEDULER_FOLDER, local_files_only=True)
        return cls(unet, scheduler, read_num_classes(path) if classes is None else classes).eval()


def read_num_classes(folder: Path) -> int | None:
    """Return the number of classes that a folder notes; None if it notes none."""
    file = folder / CLASSES_FILE
    if not file.is_file():
        return None
    try:
        num_classes = json.loads(file.read_bytes()[:MAX_CLASSES_FILE_BYTES])["classes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "remove the file, or pass classes="
        raise CheckpointError(f"a number of classes in '{file}'", type(error).__name__, hint) from error
    if isinstance(num_classes, bool) or not isinstance(num_classes, int):
        raise CheckpointError(
            f"a number of classes in '{file}'", type(num_classes).__name__, "remove it, or pass classes="
        )
    return num_classes
