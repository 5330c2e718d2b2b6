"""Probes of frozen encoders: cached features, linear grids, neighbours, attentive grids."""
