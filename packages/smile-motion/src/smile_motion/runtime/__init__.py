"""How work runs: processes, clusters, signals, devices, progress."""
