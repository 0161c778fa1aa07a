"""The table of instances that drives the tests of every surgery: those registered, and settings that matter."""

from expunge import registry
from expunge.surgery import EUPMUFastSurgery, EUPMUOfficialSurgery, EUPMUSurgery, Projection, WeightedSum

VARIANTS = {
    "fixed ga": lambda: WeightedSum(1.0, 0.0),
    "fixed neggrad": lambda: WeightedSum(0.05, 1.0),
    "unilateral tolerant": lambda: Projection(tolerance=0.3),
    "implicit log": lambda: EUPMUSurgery(log_loss=True, tolerance=0.1),
    "implicit steep": lambda: EUPMUSurgery(dual_rate=20.0, initial_multiplier=0.0),
    "implicit adam": lambda: EUPMUSurgery(dual="adam", tolerance=0.1),
    "implicit adam log steep": lambda: EUPMUSurgery(
        dual="adam", log_loss=True, dual_rate=20.0, initial_multiplier=0.0, max_multiplier=30.0
    ),
    "published steep": lambda: EUPMUOfficialSurgery(margin=0.5, dual_rate=3.0),
    "published raw": lambda: EUPMUOfficialSurgery("raw"),
    "published log steep": lambda: EUPMUOfficialSurgery("log", margin=0.5, dual_rate=3.0),
    "published ddpm": lambda: EUPMUOfficialSurgery("ddpm"),
    "published stable diffusion": lambda: EUPMUOfficialSurgery("stable_diffusion", retain_scale=0.01),
    "fast steep": lambda: EUPMUFastSurgery(margin=0.5, dual_rate=3.0),
}
TABLE = {name: entry.target for name, entry in registry.list_entries("surgeries").items()} | VARIANTS
