"""What people who come from nccl-tests type: what is the same here, and what to type instead.

Its options that we have under another name are aliases where our option is declared. The rest is
this table: a value that changes nothing here is accepted, any other is refused with what to type.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from nvrar_bench.cli.command import Command
from nvrar_bench.errors import UsageError

_LEAVE_OUT = "leave it out: "


@dataclass(frozen=True)
class Habit:
    """An option of nccl-tests that `sweep` has not; `same` are values that ask for nothing."""

    flags: tuple[str, ...]
    same: tuple[str, ...]
    instead: str  # what to type, with the {value} that was given

    def require_same(self, flag: str, value: str) -> None:
        """Refuse a value that asks for something, and say what to type."""
        if value not in self.same:
            allowed = f"; allowed here: {', '.join(self.same)}" if self.same else ""
            instead = self.instead.format(value=value)
            raise UsageError(f"{flag} {value} is an option of nccl-tests{allowed}; {instead}")


HABITS = (
    Habit(("-g", "--ngpus"), ("1",), "a rank drives one GPU: type --ranks N, or mpirun -n N"),
    Habit(("-t", "--nthreads"), ("1",), "a rank is a process: type --ranks N, or mpirun -n N"),
    Habit(("-m", "--agg_iters"), ("1",), "calls that follow each other: type --batch {value}"),
    Habit(("-N", "--run_cycles"), ("1",), "to measure again and again: type --launches {value}"),
    Habit(("-a", "--average"), ("3",), _LEAVE_OUT + "a sample is the maximum over ranks, as -a 3"),
    Habit(("-I", "--per_iter_timing"), ("0",), "type --json PATH: the record holds every sample"),
    Habit(("-K", "--per_iter_skip"), ("0",), "type --warmup {value}"),
    Habit(("-p", "--parallel_init"), ("0",), _LEAVE_OUT + "ranks start side by side"),
    Habit(("-z", "--blocking"), ("0",), _LEAVE_OUT + "ranks begin every sample together"),
    Habit(("-y", "--stream_null"), ("0",), _LEAVE_OUT + "calls run in a stream of their own"),
    Habit(("-C", "--report_cputime"), ("0",), _LEAVE_OUT + "there is no time of the CPU"),
    Habit(
        ("-R", "--local_register"),
        (),
        "type --buffers symmetric for -R 2, or --buffers private for -R 0",
    ),
    Habit(("-x", "--cta_policy"), (), "set NCCL_CTA_POLICY={value} for NCCL"),
    Habit(("-D", "--device_implementation"), ("0",), _LEAVE_OUT + "NCCL is called from the host"),
    Habit(("-V", "--device_cta_count"), (), "type --blocks {value} for the blocks of NVRAR"),
    Habit(("-J", "-F", "--output_file"), (), "type --json {value}"),
    Habit(("-S", "--report_timestamps"), ("0",), "type --json PATH: the record holds the times"),
    Habit(("-M", "--memory"), ("0",), _LEAVE_OUT + "memory is not measured"),
    Habit(("-u", "--unalign"), ("0",), _LEAVE_OUT + "buffers begin on a page"),
    Habit(("-r", "--root"), ("0",), _LEAVE_OUT + "an all-reduce has no root"),
)


BY_FLAG = {flag: habit for habit in HABITS for flag in habit.flags}


class NcclTestsHabits(Command):
    """A command that takes those options too, but does not list them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what is left of `args` without them."""
        # Switches take no value: the next word is an option of its own.
        own = [each for each in self.params if not getattr(each, "is_flag", True)]
        return super().parse_args(ctx, _without(args, {name for each in own for name in each.opts}))


def _without(args: Sequence[str], with_value: Collection[str]) -> list[str]:
    """Return `args` less habits and their values; `with_value` are options that take one."""
    kept, rest = list[str](), iter(args)
    for word in rest:
        flag, value = _split(word)
        if habit := BY_FLAG.get(flag):
            habit.require_same(flag, next(rest, "") if value is None else value)
        # The value of an option of ours may look like one of those flags: both are passed on.
        elif word in with_value:
            kept += [word, *islice(rest, 1)]
        else:
            kept.append(word)
    return kept


def _split(word: str) -> tuple[str, str | None]:
    """Split `--ngpus=1` and `-g1`; the value is None where it is the next word."""
    if word.startswith("--"):
        flag, equals, value = word.partition("=")
        return flag, value if equals else None
    return word[:2], word[2:] or None
