"""Every dataclass that a run is configured by, and every named preset."""
