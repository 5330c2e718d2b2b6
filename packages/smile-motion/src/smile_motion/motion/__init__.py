"""Motion recipes and motion plans."""
