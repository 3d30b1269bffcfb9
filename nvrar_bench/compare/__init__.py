"""The comparison of runs as a document, and its schema."""
