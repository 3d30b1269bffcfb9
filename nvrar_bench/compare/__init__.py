"""Two runs side by side: which points match, the ratio of their medians, and a verdict on each."""
