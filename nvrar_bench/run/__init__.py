"""One run, from a plan to a finished record: where backends, measuring and checking meet."""
