"""The table of instances that drives the tests of every surgery: those registered, and settings that matter."""

from expunge import registry
from expunge.surgery import Fixed, Implicit, ImplicitFast, ImplicitPublished, Unilateral

VARIANTS = {
    "fixed ga": lambda: Fixed(1.0, 0.0),
    "fixed neggrad": lambda: Fixed(0.05, 1.0),
    "unilateral tolerant": lambda: Unilateral(tolerance=0.3),
    "implicit log": lambda: Implicit(log=True, tolerance=0.1),
    "implicit steep": lambda: Implicit(dual_rate=20.0, start=0.0),
    "implicit adam": lambda: Implicit(dual="adam", tolerance=0.1),
    "implicit adam log steep": lambda: Implicit(dual="adam", log=True, dual_rate=20.0, start=0.0, highest=30.0),
    "published steep": lambda: ImplicitPublished(error=0.5, dual_rate=3.0),
    "fast steep": lambda: ImplicitFast(error=0.5, dual_rate=3.0),
}
TABLE = {name: entry.target for name, entry in registry.entries("surgeries").items()} | VARIANTS
