"""All that is computed from samples: figures, doubts about them, and the comparison of runs."""
