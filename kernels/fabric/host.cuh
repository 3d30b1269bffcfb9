// The fabric of CPU ranks: one rank of one thread in each process, the memory of all mapped here.
#pragma once

#include "mapped.cuh"

namespace nvrar {

using Fabric = LocalFabric;

}  // namespace nvrar

#define NVRAR_ENTRY(T, OP, PROTOCOL)                                        \
    NVRAR_KERNEL nvrar_all_reduce(const nvrar::Arguments* arguments) {      \
        nvrar::all_reduce<T, nvrar::OP, nvrar::PROTOCOL>(*arguments);       \
    }
