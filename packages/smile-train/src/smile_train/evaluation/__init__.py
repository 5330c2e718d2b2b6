"""Testing: views, metrics, results, figures."""
