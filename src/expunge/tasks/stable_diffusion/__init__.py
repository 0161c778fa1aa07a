"""Text-to-image models: the pipeline, concepts as prompts, adapters, objectives, and what they cost."""
