"""Execution of work: processes, clusters, signals, devices, progress."""
