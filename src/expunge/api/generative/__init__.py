"""Requests to models that draw images, and pictures of what they draw."""
