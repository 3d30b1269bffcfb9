"""Starting ranks, watching over them, and ending them without leaving anything behind."""
