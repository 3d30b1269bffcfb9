"""`nvrar-bench sweep`: the benchmark."""

from __future__ import annotations

from nvrar_bench.cli.execute import execute
from nvrar_bench.report.shown import Shown
from nvrar_bench.settings.options import SweepOptions


def sweep(options: SweepOptions) -> None:
    """Measure latency and bandwidth of all-reduce over message sizes.

    Sizes are bytes per rank; K, M, G and T are powers of 1024.
    """
    from nvrar_bench.cli.places import run_reads
    from nvrar_bench.settings.planning import sweep_settings

    execute(
        lambda: sweep_settings(options),
        options,
        Shown("table", options.wide, options.verbose),
        run_reads(options.case, options.tuning, options.network),
    )
