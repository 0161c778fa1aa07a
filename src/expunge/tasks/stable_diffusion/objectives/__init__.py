"""Objectives of text-to-image models alone; those of all diffusion models serve them too."""

from expunge.tasks.stable_diffusion.objectives.anchor_preservation import AnchorPreservation
from expunge.tasks.stable_diffusion.objectives.concept_erasure import ConceptErasure
from expunge.tasks.stable_diffusion.objectives.image_pairs import ImagePairs
from expunge.tasks.stable_diffusion.objectives.other_prompt import OtherPrompt

__all__ = ["AnchorPreservation", "ConceptErasure", "ImagePairs", "OtherPrompt"]
