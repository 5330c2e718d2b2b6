"""Probes of frozen encoders: cached features, linear grids, neighbors, attentive grids."""
