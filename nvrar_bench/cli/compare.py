"""`nvrar-bench compare`: a verdict on every point of one run against another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nvrar_bench.settings import values
from nvrar_bench.settings.option import argument, flag, option, place


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of `compare`."""

    base: Path = argument(
        "BASE.json",
        "The record that others are compared with, as sweep --json writes it.",
    )
    new: list[Path] = argument("NEW.json...", "New runs, each compared with the base.")
    threshold: str = option(
        "--threshold T",
        "5% or 0.05. A point is slower if the whole interval of new / base lies above 1 + T, "
        "faster if below 1 / (1 + T), the same if between, else undecided.",
        default="5%",
    )
    allow_missing: bool = flag(
        "--allow-missing",
        "Compare the points that both runs have. Without this option a missing point means exit "
        "code 2, after the table.",
    )
    launch_spread: str = option(
        "--launch-spread S",
        "30% or 0.3: how much two launches of the same thing may differ. It widens the intervals "
        "of runs with one launch; runs with --launches need no guess.",
        default="30%",
    )
    one_state: bool = flag(
        "--one-state",
        "Compare only samples that both runs took at the same speed of the machine, which short "
        "tests between calls show. [the samples of the runs' own medians]",
    )
    strict: bool = flag(
        "--strict",
        "Exit code 6 also for an undecided point. The last line says how many launches would "
        "decide.",
    )
    json: Path | None = option(
        "--json PATH|-",
        "Write the comparison here, as schema comparison describes it; - is standard output, "
        "alone.",
        parser=place,
    )
    markdown: Path | None = option(
        "--markdown PATH|-",
        "Write the comparison here for a pull request; - is standard output, alone.",
        parser=place,
    )
    seed: int = option(
        "--seed N",
        "Seed of the bootstrap. The same runs and seed give the same intervals.",
        default=0,
    )


def compare(options: CompareOptions) -> None:
    """Compare stored runs: slower, faster, the same, or undecided.

    Each point has a verdict. Exit code 6 if any point is slower, or with --strict undecided; 3 if a
    result is wrong; 2 if runs cannot be compared. Starts no rank and needs no MPI.
    """
    # Imported on use, so that --help does not wait for NumPy.
    from nvrar_bench.cli.places import require_places
    from nvrar_bench.documents import encode
    from nvrar_bench.documents.files import STDOUT, write_text
    from nvrar_bench.documents.run_file import read_record
    from nvrar_bench.launch.console import console
    from nvrar_bench.report import comparison as table
    from nvrar_bench.statistics import comparison
    from nvrar_bench.statistics.verdicts import Terms

    json, markdown, seed = options.json, options.markdown, options.seed
    limit = values.part("--threshold", options.threshold)
    spread = values.part("--launch-spread", options.launch_spread)
    terms = Terms(limit, spread, options.one_state)
    values.require(0 <= seed < 2**63, "--seed", seed, "0 to 2**63 - 1")
    reads = [("BASE.json", options.base), *(("NEW.json", path) for path in options.new)]
    require_places([("--json", json), ("--markdown", markdown)], reads)
    runs = [(str(path), read_record(path)) for _, path in reads]
    found = comparison.compare(runs[0], runs[1:], terms, seed)
    write_text(json, encode(found), "--json")
    write_text(markdown, table.encode(found), "--markdown")
    if STDOUT not in (json, markdown):
        table.write(found, console("stdout"))
    error = comparison.outcome(found, options.allow_missing, options.strict)
    if error is not None:
        raise error
