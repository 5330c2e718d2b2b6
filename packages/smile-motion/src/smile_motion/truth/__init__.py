"""Exact truth of a motion plan: masks, boxes, outlines, flow, tracks."""
