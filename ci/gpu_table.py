"""The tuning table that ships for an architecture, from the races of a run of ci/gpu.sh.

    python ci/gpu_table.py OUT -o nvrar_bench/backends/nvrar/sm_90.table

OUT is the folder of a run with the step `lab`. What each race chose goes into one file, which
`auto` follows on GPUs of that architecture: nvrar_bench/backends/nvrar/chooser.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from gpu_lab import race_table, share
from gpu_run import Run
from msgspec.structs import replace

from nvrar_bench.documents.files import encode_lines, write_text
from nvrar_bench.documents.record import RunRecord
from nvrar_bench.documents.tuning import TuningDocument
from nvrar_bench.errors import NvrarBenchError, UsageError

# Which schedules calls may have is known before tables are: beyond two nodes they differ.
MOST_NODES = 2


def tables(run: Run) -> list[tuple[int, TuningDocument]]:
    """What each race of a run chose, without the names of machines, and a rank's multiprocessors.

    Raises:
        UsageError: there is none, or one that may not ship.
    """
    found = {name: (record, race_table(record)) for name, record in run.named("lab-").items()}
    races = {name: (record, table) for name, (record, table) in found.items() if table}
    if not races:
        raise UsageError(f"{run.folder}: no race is there; run `ci/gpu.sh` with the step lab")
    for name, (record, table) in races.items():
        _require_sound(name, record, table)
    _require_one_architecture([table for _, table in races.values()])
    return [
        (share(record), replace(table, made_on=replace(table.made_on, hosts=())))
        for record, table in races.values()
    ]


def _require_sound(name: str, record: RunRecord, table: TuningDocument) -> None:
    if table.status != "complete" or record.run.status != "complete":
        raise UsageError(f"{name}: the race did not end; run the step lab again")
    if any(result.check.status != "passed" for result in record.results):
        raise UsageError(f"{name}: a result is wrong or was not checked; fix the kernel first")
    if table.made_for.nodes > MOST_NODES:
        raise UsageError(f"{name}: {table.made_for.nodes} nodes; allowed: up to {MOST_NODES}")


def _require_one_architecture(chosen: Iterable[TuningDocument]) -> None:
    made_for = [one.made_for for one in chosen]
    architectures = sorted({one.arch for one in made_for})
    if len(architectures) > 1:
        raise UsageError(f"races on {' and '.join(architectures)}; allowed: one architecture")
    for one in made_for:
        if made_for.count(one) > 1:
            raise UsageError(f"two races for {one}; allowed: one")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, metavar="OUT")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        found = tables(Run.read(arguments.run))
        content = {
            "made_by": "python ci/gpu_table.py, from the races of ci/gpu.sh",
            "tables": [{"multiprocessors": sms, "table": one.to_json()} for sms, one in found],
        }
        write_text(arguments.output, encode_lines(content, "the table"), "--output")
    except NvrarBenchError as error:
        print(f"gpu_table: error: {error}", file=sys.stderr)
        return error.exit_code
    for _, one in found:
        print(f"{one.made_for}: {len(one.choices)} sizes, made on {one.made_on.processor}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
