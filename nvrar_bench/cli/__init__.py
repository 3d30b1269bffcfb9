"""The command line: one file per command, each a short map; what they share is in execute.py."""
