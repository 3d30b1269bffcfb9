// The calls of fabric/nvshmem_calls.cuh. Targets and flags are addresses in one's own symmetric memory.
#pragma once

// By the whole block. The source may not be written again before the call of the next but one epoch.
extern "C" __device__ void nvrar_put(void* target, const void* source, unsigned long bytes, int pe);

// By the whole block: bytes, if any, then a flag that is seen no sooner than they are.
extern "C" __device__ void nvrar_put_signal(void* target, const void* source, unsigned long bytes,
                                            unsigned long* flag, unsigned long value, int pe);

// By one thread that has seen the flag.
extern "C" __device__ void nvrar_settle(unsigned long* flag, unsigned long value);
