"""Somebody else's unlearning, and the attack with shadow models."""
