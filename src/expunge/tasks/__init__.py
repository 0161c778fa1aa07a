"""Task families: leaves that bring data, models and metrics of their own."""
