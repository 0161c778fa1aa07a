"""The evaluation of generative models by their images; no generating library is needed."""

from expunge.tasks.diffusion.evaluation.clip_score import ClipScore
from expunge.tasks.diffusion.evaluation.columns import feature_columns
from expunge.tasks.diffusion.evaluation.evaluate import ImageEvaluation
from expunge.tasks.diffusion.evaluation.features import allowed
from expunge.tasks.diffusion.evaluation.figures import ImageFigures
from expunge.tasks.diffusion.evaluation.images import ShownImages, as_unit_images
from expunge.tasks.diffusion.evaluation.inception import Inception
from expunge.tasks.diffusion.evaluation.judge import Answers, Extractor, Judge
from expunge.tasks.diffusion.evaluation.nudity import NudeNetCounts
from expunge.tasks.diffusion.evaluation.prompt_file import Prompted, classes_of, read_prompts
from expunge.tasks.diffusion.evaluation.prompted import PromptEvaluation, PromptImages
from expunge.tasks.diffusion.evaluation.published import TorchmetricsDistances

__all__ = [
    "Answers",
    "ClipScore",
    "Extractor",
    "ImageEvaluation",
    "ImageFigures",
    "Inception",
    "Judge",
    "NudeNetCounts",
    "PromptEvaluation",
    "PromptImages",
    "Prompted",
    "ShownImages",
    "TorchmetricsDistances",
    "allowed",
    "as_unit_images",
    "classes_of",
    "feature_columns",
    "read_prompts",
]
