"""`nvrar-bench tune`: finds the best launch of NVRAR at each size, for `auto` to use."""

from __future__ import annotations

from nvrar_bench.cli.execute import execute
from nvrar_bench.report.shown import Shown
from nvrar_bench.settings.options import TuneOptions


def tune(options: TuneOptions) -> None:
    """Write a table of NVRAR's fastest settings, for --tuning.

    Slow candidates are eliminated early. The winner must then beat the default in a fresh
    head-to-head run. A wrong result ends the search with exit code 3.
    """
    from nvrar_bench.cli.places import run_reads
    from nvrar_bench.settings.planning import tune_settings

    execute(
        lambda: tune_settings(options),
        options,
        Shown("tuning"),
        run_reads(None, None, options.network),
        [("--output", options.output)],
    )
