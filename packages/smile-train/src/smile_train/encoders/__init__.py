"""Frozen video encoders: ours, CLIP frame by frame, ViCLIP, and those of transformers."""
