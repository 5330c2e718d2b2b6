"""Self-supervised video pre-training on moving-object clips (SMILE, CVPR 2025)."""
