"""What happens while the clock runs: the timed loop, clocks, stopping rules."""
