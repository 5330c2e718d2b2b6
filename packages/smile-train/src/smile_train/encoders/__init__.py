"""Encoders of another architecture, to compare with: CLIP frame by frame, ViCLIP."""
