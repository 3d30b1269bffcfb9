"""Where the buffers lie and the clock ticks: host memory, or the memory of GPUs."""
