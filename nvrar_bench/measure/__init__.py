"""The timed loop, the rules that stop it, and the statistics of its samples."""
