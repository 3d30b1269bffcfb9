"""Reports: each module turns a run record into one form with `write(record, destination)`.

A report reads the record alone; it never asks a backend, a device or the machine it runs on.
"""
