"""Classification: readers of data sets and models."""
