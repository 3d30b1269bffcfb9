"""What a run leaves behind: an immutable record, its JSON and the schema of that."""
