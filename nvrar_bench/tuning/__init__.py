"""The tuning table that `tune` writes and `auto` reads: see docs/tuning.md."""
