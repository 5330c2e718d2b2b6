"""Candidates of an object bank: generated, cut out, scored, selected."""
