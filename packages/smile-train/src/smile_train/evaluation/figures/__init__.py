"""Figures of evaluations, as PNG and JSON."""
