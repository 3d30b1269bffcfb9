"""The backends: one file each, one row each in the registry, behind one seam (base.py)."""
