"""Objectives of text-to-image models alone; those of all diffusion models serve them too."""

from expunge.tasks.stable_diffusion.objectives.other_prompt import OtherPrompt

__all__ = ["OtherPrompt"]
