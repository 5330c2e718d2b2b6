"""Clips: a recipe, a bank and a background."""
