"""Building object banks from any source of objects."""
