"""Reading and writing other systems' checkpoints."""
