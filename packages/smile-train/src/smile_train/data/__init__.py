"""Clips for training, the same for any number of workers and processes."""
