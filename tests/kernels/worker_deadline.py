"""One rank leaves out its third call; what do the others see?

worker_deadline.py NODES MISSING PROTOCOL:COUNT:BUFFERS ...
"""

from __future__ import annotations

import json
import sys
from typing import Any

import harness
from harness import Call, Ranks, Shape

from nvrar_bench.errors import TimedOut
from nvrar_bench.verify import check, poison

harness.TIMEOUT_S = 4.0  # also of the calls before, on more ranks than cores


def main() -> None:
    nodes, missing = int(sys.argv[1]), int(sys.argv[2])
    shapes = [Shape("float32", "sum", int(c), p, b, "out_of_place") for p, c, b in map(parts, rest)]
    ranks = Ranks(nbytes=4 * max(shape.count for shape in shapes))
    ranks.reserve(shapes)
    outcomes = []
    for shape in shapes:
        # A backend of its own for each: after a timeout its flags are out of step.
        ranks.backend.cache_clear()
        call = ranks.prepare(nodes, shape)
        ranks.run("complete", [call, call])
        seen = None if ranks.world.rank == missing else third(ranks, call)
        outcomes.append(ranks.world.comm.allgather(seen))
    if ranks.world.rank == 0:
        json.dump({"problems": ranks.problems, "outcomes": outcomes}, sys.stdout)


rest = sys.argv[3:]


def parts(text: str) -> list[str]:
    return text.split(":")


def third(ranks: Ranks, call: Call) -> dict[str, Any]:
    """What came of the call: the error, and whether the output passes for the result."""
    shape = call.shape
    inputs, expected = ranks.known((shape.dtype, shape.op, shape.mode), 2)
    call.send[:] = inputs[: shape.count]
    poison(call.recv)
    error = None
    try:
        call.operation.launch()
    except TimedOut as caught:
        error = str(caught)
    wrong = check(call.recv, expected, shape.count, ranks.world.rank).wrong
    return {"error": error, "wrong": wrong}


if __name__ == "__main__":
    main()
