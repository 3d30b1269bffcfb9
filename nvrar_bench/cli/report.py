"""`nvrar-bench report`: a stored run once more, its figures computed anew from its samples."""

from __future__ import annotations

from nvrar_bench.settings.options import ReportOptions


def report(options: ReportOptions) -> None:
    """Show stored runs again, as table, page, CSV or metrics.

    All figures are computed anew. Starts no rank and needs no MPI.
    """
    from nvrar_bench.cli.reporting import StoredReport

    wanted = StoredReport(options)
    wanted.require_sense()
    wanted.write()
