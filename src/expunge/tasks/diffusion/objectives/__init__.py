"""Objectives of diffusion models."""

from expunge.tasks.diffusion.objectives.elastic_noise import ElasticNoise
from expunge.tasks.diffusion.objectives.negative_guidance import NegativeGuidance
from expunge.tasks.diffusion.objectives.noise_ascent import NoiseAscent
from expunge.tasks.diffusion.objectives.noise_matching import NoiseMatching
from expunge.tasks.diffusion.objectives.noise_objective import NoiseObjective
from expunge.tasks.diffusion.objectives.other_class import OtherClass
from expunge.tasks.diffusion.objectives.surrogate_noise import SurrogateNoise
from expunge.tasks.diffusion.objectives.uniform_noise import UniformNoise

__all__ = [
    "ElasticNoise",
    "NegativeGuidance",
    "NoiseAscent",
    "NoiseMatching",
    "NoiseObjective",
    "OtherClass",
    "SurrogateNoise",
    "UniformNoise",
]
