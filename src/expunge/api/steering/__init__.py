"""What ``auto`` chooses, and what keeps a run inside a budget."""
