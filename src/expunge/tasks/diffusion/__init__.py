"""Diffusion models: networks, training, sampling, objectives, and the evaluation of their images."""
