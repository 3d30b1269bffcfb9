"""Earlier names."""
