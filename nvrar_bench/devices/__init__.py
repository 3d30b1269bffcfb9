"""Where the buffers live and the clock ticks: host memory, later GPU memory."""
