"""Reports of decode steps: table, page, CSV and metrics, each from the record of `decode`."""
