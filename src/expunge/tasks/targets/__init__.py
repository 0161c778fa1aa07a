"""What tasks share whose models are trained on a loss between outputs and targets of as many numbers."""
