"""Attacks on a model: population attacks, likelihood ratios over shadow models, relearning."""
