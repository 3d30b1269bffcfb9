"""`nvrar-bench check`: correctness only, over a case file."""

from __future__ import annotations

from nvrar_bench.cli.execute import execute
from nvrar_bench.report.shown import Shown
from nvrar_bench.settings.options import CheckOptions


def check(options: CheckOptions) -> None:
    """Verify every case of a case file on every backend.

    No times are reported. All cases run, also after a wrong one; exit code 3 if any was wrong.
    """
    from nvrar_bench.cli.places import run_reads
    from nvrar_bench.settings.planning import check_settings

    execute(
        lambda: check_settings(options),
        options,
        Shown("summary"),
        run_reads(options.case, options.tuning, options.network),
    )
