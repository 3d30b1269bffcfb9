// Who exchanges with whom between the nodes: a mixed-radix schedule.
//
// Node numbers are written in the mixed base radix[0], radix[1], ... In step s the nodes that differ in
// digit s alone form a group and exchange directly, all with all. Radix 2 throughout is recursive
// doubling; one step of radix N is a direct exchange. Nodes from core_nodes on take no part in the
// steps: each is folded into node - core_nodes before them and gets the result back after them.
#pragma once

#include "arguments.cuh"

namespace nvrar {

struct Group {
    u32 radix;
    u32 digit;   // of this node
    u32 first;   // node with digit 0
    u32 stride;  // between nodes of neighbouring digits

    NVRAR_DEVICE u32 node(u32 other_digit) const { return first + other_digit * stride; }
};

struct Schedule {
    const Arguments& arguments;

    NVRAR_DEVICE u32 steps() const { return arguments.steps; }
    NVRAR_DEVICE bool is_folded() const { return arguments.node >= arguments.core_nodes; }
    NVRAR_DEVICE bool has_folded() const {
        return arguments.node + arguments.core_nodes < arguments.nodes;
    }
    NVRAR_DEVICE u32 fold_partner() const {
        return is_folded() ? arguments.node - arguments.core_nodes
                           : arguments.node + arguments.core_nodes;
    }

    NVRAR_DEVICE Group group(u32 step) const {
        const Step& s = arguments.step[step];
        return {s.radix, s.digit, arguments.node - s.digit * s.stride, s.stride};
    }

    // The slot, counted over all steps, in which a node of `at_digit` receives from `from_digit`.
    NVRAR_DEVICE u32 slot(u32 step, u32 at_digit, u32 from_digit) const {
        return arguments.step[step].first_slot + from_digit - (from_digit > at_digit ? 1 : 0);
    }
    NVRAR_DEVICE u32 fold_slot() const { return arguments.slots; }
    NVRAR_DEVICE u32 unfold_slot() const { return fold_slot() + 1; }
};

}  // namespace nvrar
