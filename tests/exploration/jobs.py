"""The jobs that are explored: shapes, calls at the edges of chunks, windows and slices, wraps."""

from __future__ import annotations

from explore import (
    CHUNK_BYTES,
    DTYPES,
    FLAG_SPAN,
    PLACEMENTS,
    PROTOCOLS,
    ROWS,
    WINDOW_BYTES,
    Call,
    Job,
)

# Calls of a job follow one another without a pause. 32 elements fill a window, 4 a chunk.
_STAGED = "signal:7:1x1:16:staged:out | signal:9:1x1:32:staged:in | signal:1:1x1:16:staged:out"
_DIRECT = "signal:7:1x1:16:direct:out | signal:9:1x1:32:direct:in | signal:33:1x1:16:direct:out"
_PACKET = "packet:7:1x1:16:direct:out | packet:1:1x1:32:direct:in | packet:9:1x1:16:direct:out"
_MIXED = "signal:5:1x1:16:direct:in | packet:3:1x1:16:staged:out | signal:33:1x1:16:staged:in"
_LONG = "signal:70:1x1:16:direct:in | packet:65:1x1:16:staged:in | signal:33:1x1:32:staged:out"
_BLOCKS = "signal:17:2x1:16:staged:out | signal:40:1x2:16:direct:in | packet:19:2x2:16:direct:out"
_THREADS = "signal:29:1x2:64:direct:in | signal:40:1x3:64:staged:out | packet:29:1x3:64:direct:in"
_EMPTY = "packet:33:3x1:16:direct:out | packet:33:3x1:16:direct:in | packet:1:3x1:16:direct:in"
_AMID = "signal:17:2x1:16:staged:out | packet:3:1x1:16:direct:in | signal:33:2x1:16:staged:out"
_PACKETS = "packet:33:2x1:16:direct:out | packet:5:1x2:16:direct:in | packet:40:3x1:16:direct:out"
_TURNS = "packet:31:1x1:16:direct:out | signal:32:1x1:16:staged:in | packet:1:2x1:16:direct:in"
_ONES = "signal:1:1x1:16:direct:in | signal:1:1x1:16:staged:in | packet:1:1x1:16:direct:in"
_AGAIN = " | ".join(["signal:3:1x1:16:direct:in"] * 5)
_AGAIN_STAGED = " | ".join(["signal:3:1x1:16:staged:out"] * 5)
_AGAIN_PACKET = " | ".join(["packet:3:1x1:16:direct:in"] * 5)
# Of messages: a machine's rank is one block of one thread, and may be alone there.
_SENT = "signal:33:1x1:16:direct:in | signal:70:1x1:16:direct:out | signal:9:1x1:32:direct:over"
_SENT_STAGED = (
    "signal:70:1x1:16:staged:in | signal:5:1x1:16:staged:out | signal:40:1x1:32:staged:in"
)
_SENT_PACKETS = (
    "packet:70:1x1:16:direct:in | packet:1:1x1:16:staged:out | packet:40:1x1:32:direct:in"
)
_SENT_MIXED = "signal:40:1x1:16:direct:in | packet:33:1x1:16:staged:in | signal:33:1x1:16:staged:in"
_SENT_TYPES = (
    "signal:70:1x1:16:direct:in:bfloat16:avg | packet:33:1x1:16:direct:in+1:int8:min"
    " | signal:17:1x1:16:staged:back:float64:avg | packet:17:1x1:16:direct:over:float64:avg"
    " | signal:131:1x1:32:direct:over+1:int8:min"
)
# Chunks whose parts are 32 bytes, 16, short or none, in blocks and threads that change.
_PARTS = (
    "packet:31:1x2:64:direct:in | signal:29:2x1:64:direct:in | packet:1:2x1:16:direct:out"
    " | signal:70:1x2:128:staged:out | packet:33:2x2:128:staged:in"
)
_PARTS_STAGED = (
    "packet:40:2x1:64:staged:in | signal:66:1x2:64:staged:out | packet:9:1x3:32:direct:in"
)
_PARTS_OF_TWO = (
    "packet:33:2x1:32:direct:in | signal:33:2x1:32:direct:out | packet:5:3x1:16:direct:in"
)
_SHRINKING = "packet:64:1x1:16:direct:out | packet:1:1x1:16:direct:out | packet:64:3x1:16:direct:in"

_TEXTS = [
    # Two ranks: every schedule with a few deviations is run.
    f"2x1 mapped | {_DIRECT}",
    f"2x1 mapped | {_STAGED}",
    f"2x1 mapped | {_PACKET}",
    f"2x1 mapped | {_MIXED}",
    f"2x1 mapped | {_AGAIN_STAGED}",
    f"2x2 mapped | {_DIRECT}",
    f"2x2 mapped | {_MIXED}",
    f"2x2 mapped | {_AGAIN}",
    f"2x2 mapped | {_AGAIN_PACKET}",
    f"2x2 network | {_DIRECT}",
    f"2x2 network | {_PACKET}",
    f"2x2 network | {_AGAIN}",
    f"2x2 network | {_AGAIN_PACKET}",
    f"2x1 mapped | {_BLOCKS}",
    f"2x2 mapped | {_BLOCKS}",
    f"2x2 network | {_BLOCKS}",
    f"2x2 network | {_PACKETS}",
    f"2x1 mapped | {_THREADS}",
    f"2x2 mapped | {_THREADS}",
    f"2x2 network | {_THREADS}",
    f"2x1 mapped | {_EMPTY}",
    f"2x2 network | {_EMPTY}",
    f"2x2 mapped | {_AMID}",
    f"2x2 network | {_AMID}",
    # Three and four.
    f"3x1 mapped | {_MIXED}",
    f"3x3 mapped | {_TURNS}",
    f"3x3 network | {_LONG}",
    f"3x1 mapped | {_BLOCKS}",
    f"4x1 mapped | {_STAGED}",
    f"4x2 mapped | {_ONES} | {_LONG}",
    f"4x2 mapped | {_AGAIN}",
    f"4x2 mapped | {_PACKETS}",
    f"4x2 network | {_BLOCKS}",
    f"4x2 network | {_THREADS}",
    f"4x2 network | {_SHRINKING}",
    f"4x2 network | {_AGAIN_PACKET}",
    f"4x4 mapped | {_TURNS}",
    f"4x4 network | {_MIXED}",
    f"4x4 mapped radix=4 | {_LONG}",
    # More.
    f"5x1 mapped | {_PACKETS}",
    f"6x3 mapped | {_LONG}",
    f"6x3 network | {_MIXED}",
    f"6x2 mapped | {_BLOCKS}",
    f"6x3 mapped | {_THREADS}",
    f"7x7 mapped | {_TURNS}",
    f"8x4 mapped | {_MIXED}",
    f"8x4 network | {_TURNS}",
    f"8x2 network | {_ONES} | {_SHRINKING}",
    f"11x11 mapped | {_DIRECT}",
    f"11x11 network | {_MIXED}",
    f"11x11 mapped | {_AGAIN_PACKET}",
    # Nodes that are machines: what is between them is a message.
    f"2x2 messages | {_SENT}",
    f"2x2 messages | {_SENT_STAGED}",
    f"2x2 messages | {_SENT_PACKETS}",
    f"2x2 messages | {_AGAIN}",
    f"2x2 messages | {_AGAIN_PACKET}",
    f"2x2 messages | {_SENT_TYPES}",
    f"2x2 messages lazy=1 | {_SENT}",
    f"2x2 messages lazy=1 | {_SENT_PACKETS}",
    f"3x3 messages | {_SENT}",
    f"3x3 messages | {_SENT_PACKETS}",
    f"4x4 messages | {_SENT_MIXED}",
    f"4x4 messages radix=4 | {_SENT}",
    f"4x4 messages radix=4 | {_SENT_PACKETS}",
    f"4x4 messages radix=4 lazy=1 | {_SENT_MIXED}",
    f"6x6 messages | {_SENT_MIXED}",
    f"4x2 messages | {_SENT}",
    f"4x2 messages | {_SENT_STAGED}",
    f"4x2 messages | {_SENT_PACKETS}",
    f"4x2 messages | {_SENT_TYPES}",
    f"4x2 messages lazy=1 | {_SENT_MIXED}",
    f"4x2 messages lazy=1 | {_SENT_STAGED}",
    f"6x2 messages | {_SENT_MIXED}",
    f"6x3 messages | {_SENT}",
    f"6x3 messages | {_SENT_PACKETS}",
    f"9x3 messages lazy=1 | {_SENT_MIXED}",
    f"8x4 messages radix=4 | {_SENT_MIXED}",
    f"11x11 messages | {_SENT}",
    f"11x11 messages | {_SENT_PACKETS}",
    f"11x11 messages lazy=1 | {_SENT_STAGED}",
    # Parts between nodes: cut in short chunks, gathered, folded; whatever carries them.
    f"2x2 mapped halving=1 | {_AGAIN}",
    f"2x2 network halving=1 | {_PARTS_OF_TWO}",
    f"3x3 mapped halving=1 | {_TURNS}",
    f"4x4 mapped halving=1 | {_PARTS}",
    f"4x4 mapped halving=1 | {_AGAIN_PACKET}",
    f"4x4 network halving=1 | {_PARTS}",
    f"4x4 network radix=4 halving=1 | {_TURNS}",
    f"8x4 mapped halving=1 | {_PARTS_STAGED}",
    f"6x3 network halving=1 | {_PARTS_STAGED}",
    f"6x6 mapped halving=1 | {_PARTS}",
    f"8x8 network halving=1 | {_TURNS}",
    f"11x11 mapped halving=1 | {_PARTS}",
    f"11x11 network halving=1 | {_TURNS}",
    f"3x3 messages halving=1 | {_SENT}",
    f"3x3 messages halving=1 | {_SENT_PACKETS}",
    f"4x4 messages halving=1 | {_SENT_MIXED}",
    f"4x4 messages halving=1 | {_SENT_TYPES}",
    f"8x4 messages lazy=1 halving=1 | {_SENT_STAGED}",
    f"6x3 messages lazy=1 halving=1 | {_SENT_MIXED}",
    f"11x11 messages halving=1 | {_SENT_MIXED}",
    f"4x4 mapped epoch={FLAG_SPAN - 2} halving=1 | {_TURNS}",
    f"4x4 mapped absent=1 halving=1 | {_PARTS}",
    f"4x4 messages absent=2 halving=1 | {_SENT_MIXED}",
    # Alone.
    f"1x1 mapped | {_BLOCKS}",
    f"1x1 mapped | {_PACKETS}",
    # The low half of the epoch comes round, and flags have more than 32 bits.
    f"2x2 mapped epoch={FLAG_SPAN - 2} | {_MIXED}",
    f"4x2 network epoch={FLAG_SPAN - 1} | {_LONG}",
    f"2x1 mapped epoch={3 * FLAG_SPAN - 2} | {_TURNS}",
    f"4x2 messages epoch={FLAG_SPAN - 2} | {_SENT_MIXED}",
    # A rank that never comes: every other one gives up, and does nothing afterwards.
    f"2x1 mapped absent=1 | {_MIXED}",
    f"2x2 mapped absent=0 | {_PACKET}",
    f"4x2 mapped absent=2 | {_BLOCKS}",
    f"4x2 network absent=1 | {_PACKETS}",
    f"4x2 network absent=3 | {_DIRECT}",
    f"4x1 mapped absent=0 | {_STAGED}",
    f"2x2 messages absent=1 | {_SENT_MIXED}",
    f"4x2 messages absent=2 | {_SENT_PACKETS}",
    f"3x3 messages absent=0 | {_SENT}",
    "4x2 mapped absent=3 | packet:3:1x3:16:direct:out | packet:3:1x3:16:direct:out",
    "2x2 network absent=0 | packet:3:1x3:16:direct:out | packet:3:1x3:16:direct:out",
]


def edges(ranks_per_node: int, itemsize: int, blocks: int) -> list[int]:
    """Counts at which a slice, a chunk, a block's first chunk or a window begins; and 1 off."""
    per_slice = CHUNK_BYTES // itemsize  # also what a slice is rounded up to
    window = WINDOW_BYTES // itemsize
    row = per_slice * ranks_per_node  # one chunk of every slice
    ends = [ranks_per_node, per_slice, row, row * blocks, window, window + row, 2 * window]
    counts = {1} | {end + off for end in ends for off in (-1, 0, 1)}
    return sorted(count for count in counts if count > 0)


_EDGE_SHAPES = [(2, 1), (2, 2), (3, 1), (4, 2), (5, 1), (6, 3), (8, 2), (8, 4)]
_LAUNCHES = ["1x1", "2x1", "1x2", "3x1", "2x2"]
_CALLS_PER_JOB = 5
EVERY_WAY = len(PROTOCOLS) * len(ROWS)


def edge_jobs(times: int) -> list[Job]:
    """All edges on all shapes, each `times`, in jobs of a few calls that differ in everything.

    Rows and protocols take turns: an edge that occurs EVERY_WAY times has met every pair of them.
    """
    found = []
    for shape, (ranks, nodes) in enumerate(_EDGE_SHAPES):
        calls = []
        for turn in range(times):
            for number in range(len(edges(ranks // nodes, 1, 1))):
                calls += _edge_call(ranks // nodes, number, number + turn + shape, shape + turn)
        for first in range(0, len(calls), _CALLS_PER_JOB):
            number = first // _CALLS_PER_JOB
            fabric = "network" if nodes > 1 and (shape + number) % 2 else "mapped"
            epoch = FLAG_SPAN - 2 if number % 3 == 2 else 1
            part = tuple(calls[first : first + _CALLS_PER_JOB])
            found.append(Job(ranks, nodes, fabric, part, epoch))
    return found


def _edge_call(per_node: int, number: int, turn: int, other: int) -> list[Call]:
    row = ROWS[turn % len(ROWS)]
    blocks, threads = map(int, _LAUNCHES[(turn // 2 + other) % len(_LAUNCHES)].split("x"))
    counts = edges(per_node, DTYPES[row[0]].itemsize, blocks)
    if number >= len(counts):
        return []
    return [
        Call(
            PROTOCOLS[(turn // len(ROWS) + number) % 2], counts[number], blocks, threads,
            CHUNK_BYTES * (1 + turn % 3), ("direct", "staged")[(turn // 2) % 2],
            list(PLACEMENTS)[(turn + turn // 4) % 4], turn % 5 % 3, row,
        )
    ]  # fmt: skip


JOBS = [Job.parse(text) for text in _TEXTS] + edge_jobs(1)
WIDE = edge_jobs(EVERY_WAY)
