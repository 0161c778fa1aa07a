"""Tasks: what belongs to one family of models, each a leaf that the other rooms reach by name alone."""
