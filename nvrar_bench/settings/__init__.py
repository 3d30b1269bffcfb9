"""From options and case files to `Settings`, the immutable description of a run."""
