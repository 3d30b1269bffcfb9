// The entry point. A generated source includes a fabric and this file, and names one specialisation:
//
//     #include "fabric/host.cuh"
//     #include "all_reduce.cuh"
//     NVRAR_ENTRY(float, Sum, Signal)
#pragma once

#include "packet.cuh"
#include "signal.cuh"

namespace nvrar {

// recv[0 .. count) = Op over all ranks of send[0 .. count), on every rank. send may be recv.
// A count of 0 moves nothing and takes no epoch.
// A wait that passes its deadline leaves arguments.failure filled and recv undefined.
template <typename T, typename Op, template <typename, typename> class Protocol>
NVRAR_DEVICE void all_reduce(const Arguments& arguments) {
    if (!arguments.count) return;
    order_calls();
    Protocol<T, Op>(arguments).run();
    order_calls();
}

}  // namespace nvrar
