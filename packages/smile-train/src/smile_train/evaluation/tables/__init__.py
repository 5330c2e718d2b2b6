"""The comparison report: runs beside the paper's tables."""
