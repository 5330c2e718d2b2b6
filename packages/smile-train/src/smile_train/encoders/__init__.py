"""Frozen video encoders: ours, CLIP frame by frame, ViCLIP."""
