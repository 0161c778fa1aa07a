"""A request of each family and a recipe with nearly every setting, as plain values."""

CLASSIFIER = {
    "task": "classification",
    "model": {"name": "small_cnn", "options": {"width": 4}},
    "checkpoint": "original.safetensors",
    "data": {"name": "digits", "subset": 120, "augment": "none", "options": {"test_share": 0.1}},
    "forget": {"class": 3},
    "method": {"name": "rl", "epochs": 1, "lr": 0.01, "batch_size": 32},
    "retrained_model": "none",
    "train": {"epochs": 1, "batch_size": 64, "lr": 0.1, "schedule": "cosine"},
    "holdout": 0.4,
    "budget": {"accuracy_points": 5.0},
    "priority": "budget",
    "seed": 1,
    "device": "cpu",
    "threads": 1,
    "batch_norm": "frozen",
    "gradient_accumulation_steps": 1,
    "precision": "fp32",
    "out": "run",
    "ledger": "ledger.sqlite",
    "show_examples": True,
}
DIFFUSION = {
    "task": "diffusion",
    "model": "ddpm",
    "data": "digits",
    "forget": {"class": 1},
    "method": "auto",
    "images": 8,
}
PROMPTS = {"task": "stable_diffusion", "model": "pipeline", "forget": {"prompts": ["a cat"]}, "retain": ["a dog"]}
RECIPE = {
    "title": "Digits",
    "model": "small_cnn",
    "data": {"name": "digits", "subset": 120},
    "train": {"epochs": 1},
    "holdout": 0.4,
    "requests": [{"class": 3}, {"fraction": 0.1}],
    "seeds": [0, 1],
    "budget": 3.0,
    "tune": {"lr": [0.001, 0.01], "seeds": [1000], "holdout": 0.2},
    "methods": ["auto", {"name": "salun", "epochs": 1, "overrides": {"class": {"exclude_true": True}}}],
}
