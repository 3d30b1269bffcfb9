"""The command line: a file per command; those that run ranks, `sweep` too, are in execute.py."""
