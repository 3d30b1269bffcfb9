"""What a rank has loaded when it begins: hundreds of them may share a few cores."""

from __future__ import annotations

import subprocess
import sys

# What only a terminal, rank 0, a launcher or a look at other processes needs.
NOT_NEEDED = {
    "nvrar_bench.inventory",
    "nvrar_bench.launch.job",
    "psutil",
    "rich",
}
PROGRAM = """
import sys
import nvrar_bench.__main__ as program
import nvrar_bench.run.as_rank as as_rank
program.supervisor.supervise = lambda _: None
as_rank.run_as_rank = lambda *_: print(*sys.modules)
program.main()
"""


def test_a_rank_loads_what_it_uses():
    words = ("sweep", "--backend", "fake", "--sizes", "1K", "--iters", "20", "--wide")
    loaded = subprocess.check_output(
        [sys.executable, "-c", PROGRAM, *words], text=True, timeout=60
    ).split()
    assert "nvrar_bench.run.session" in loaded
    assert NOT_NEEDED.isdisjoint(loaded)
