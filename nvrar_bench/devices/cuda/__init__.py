"""The CUDA device: GPU memory, one stream, event timing and checks that stay on the GPU."""
