"""NVRAR: hierarchical all-reduce by one kernel. Schedule, memory layout, arguments, backend."""
