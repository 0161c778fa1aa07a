"""The evaluation of generative models by their images; no generating library is needed."""

from expunge.tasks.diffusion.evaluation.clip_score import ClipScore
from expunge.tasks.diffusion.evaluation.columns import feature_columns
from expunge.tasks.diffusion.evaluation.features import max_kept_distance
from expunge.tasks.diffusion.evaluation.image_classifier import ClassifierOutput, FeatureExtractor, ImageClassifier
from expunge.tasks.diffusion.evaluation.image_evaluation import ImageEvaluation
from expunge.tasks.diffusion.evaluation.image_results import ImageResults
from expunge.tasks.diffusion.evaluation.inception import Inception
from expunge.tasks.diffusion.evaluation.labeled_images import LabeledImages, as_unit_images
from expunge.tasks.diffusion.evaluation.nudity import NudeNetCounts
from expunge.tasks.diffusion.evaluation.prompt_evaluation import PromptEvaluation, PromptImages
from expunge.tasks.diffusion.evaluation.prompt_file import PromptRow, get_class_indices, read_prompts
from expunge.tasks.diffusion.evaluation.torchmetrics_distances import TorchmetricsDistances

__all__ = [
    "ClassifierOutput",
    "ClipScore",
    "FeatureExtractor",
    "ImageClassifier",
    "ImageEvaluation",
    "ImageResults",
    "Inception",
    "LabeledImages",
    "NudeNetCounts",
    "PromptEvaluation",
    "PromptImages",
    "PromptRow",
    "TorchmetricsDistances",
    "as_unit_images",
    "feature_columns",
    "get_class_indices",
    "max_kept_distance",
    "read_prompts",
]
