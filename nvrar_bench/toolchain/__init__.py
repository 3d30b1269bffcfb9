"""Kernel source to loadable code: what to build, the host compiler, and the cache between them."""
