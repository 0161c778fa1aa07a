"""The demo: forget handwritten digits, by every method of the first slice, and show the evidence."""

from expunge.demo.run import run_demo

__all__ = ["run_demo"]
