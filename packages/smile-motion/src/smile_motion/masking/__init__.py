"""Token masks."""
