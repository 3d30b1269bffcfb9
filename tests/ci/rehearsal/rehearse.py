"""ci/gpu.sh, whole, on a GPU that is a stub: real command lines, real bindings, real cubins.

    python tests/ci/rehearsal/rehearse.py OUT [--small] [--gpu "sms=16 memory=1000000000"]

The driver is tests/devices/cuda/stub_driver.cpp, found by LD_LIBRARY_PATH: it runs what the
host's compiler makes of the sources whose cubins it is given. NCCL and NVSHMEM are stand-ins for
ranks of one machine, below their real bindings; nvidia-smi, compute-sanitizer, nccl-tests
and the control program of MPS are stand-ins on PATH. The exit code is that of ci/gpu.sh.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
LIBRARIES = {
    "libcuda.so.1": REPOSITORY / "tests" / "devices" / "cuda" / "stub_driver.cpp",
    "libnccl.so.2": HERE / "stub_nccl.cpp",
    "libnvshmem_host.so.3": HERE / "stub_nvshmem.cpp",
}
PRELOADED = ("libnccl.so.2", "libnvshmem_host.so.3")
LINKED = ("nvrar_bench", "kernels", "cases")  # in a checkout whose ci/ is another

PROGRAMS = {
    "nvidia-smi": "echo 'Driver Version : 580.00'\n",
    # Its options come first, each with one value; then the command.
    "compute-sanitizer": """while [ "${1#--}" != "$1" ]; do
    case $1 in
        --tool | --target-processes | --error-exitcode) shift 2 ;;
        *) echo "compute-sanitizer: no option $1" >&2; exit 1 ;;
    esac
done
echo "========= COMPUTE-SANITIZER"
"$@" || exit
echo "========= ERROR SUMMARY: 0 errors"
""",
    # As nccl-tests prints it, with the times of stub_nccl.cpp; the other ranks print nothing.
    "all_reduce_perf": """[ "${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}" = 0 ] || exit 0
[ "$NCCL_MULTI_RANK_GPU_ENABLE" = 1 ] || { echo "Duplicate GPU detected" >&2; exit 3; }
for rank in 0 1; do echo "#  Rank  $rank Group  0 Pid   1000 on host device  0 [0] Stub GPU"; done
echo "NCCL version 2.32.3+cuda13.0"
for size in 131072 262144 524288 1048576 2097152; do
    time=$((2000 + size / 400))
    time=$((time / 100)).$(printf %02d $((time % 100)))
    echo "$size $((size / 4)) float sum -1 $time 1.00 1.00 0 $time 1.00 1.00 0"
done
""",
    "nvidia-cuda-mps-control": """pipe=$CUDA_MPS_PIPE_DIRECTORY/control
if [ "${1:-}" = -d ]; then : >"$pipe"; else read -r word && [ "$word" = quit ] && rm "$pipe"; fi
""",
}


def make_libraries(folder: Path) -> None:
    """Compile the driver, and stand-ins for NCCL and NVSHMEM."""
    from nvrar_bench.toolchain import host

    options = ["-std=c++17", "-O1", "-shared", "-fPIC", "-w", *host.include_flags()]
    for name, source in LIBRARIES.items():
        named = [f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)]
        subprocess.run(
            [*host.compiler().command, *options, *named, "-ldl", "-lrt", "-lpthread"], check=True
        )


def make_programs(folder: Path) -> None:
    """Write the stand-ins for NVIDIA's programs."""
    for name, text in PROGRAMS.items():
        path = folder / name
        path.write_text(f"#!/bin/sh\n{text}")
        path.chmod(0o755)


def make_checkout(folder: Path, cases: Path) -> Path:
    """A checkout whose script is the real one, with the case files of `cases`; where it lies."""
    folder.mkdir()
    for name in LINKED:
        (folder / name).symlink_to(REPOSITORY / name)
    shutil.copytree(REPOSITORY / "ci", folder / "ci")
    for path in cases.glob("*.toml"):
        shutil.copy(path, folder / "ci" / path.name)
    return folder / "ci" / "gpu.sh"


def variables(work: Path, gpu: str) -> dict[str, str]:
    """The environment of the script."""
    before = os.environ.get("LD_LIBRARY_PATH")
    return {
        "PATH": f"{work / 'bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": f"{work / 'libraries'}" + (f":{before}" if before else ""),
        "PYTHON": sys.executable,
        # The bindings use what is loaded already, and look for the wheels' libraries only else.
        "LD_PRELOAD": " ".join(str(work / "libraries" / name) for name in PRELOADED),
        "STUB_GPU": f"{gpu} gpus=1",
        "STUB_BUILDS": str(work / "builds"),
        "STUB_RESOLVER": f"'{sys.executable}' '{HERE / 'resolve.py'}'",
    }


def prepare(work: Path) -> None:
    """All that a rehearsal needs, in `work`."""
    for name in ("bin", "libraries", "builds"):
        (work / name).mkdir(parents=True, exist_ok=True)
    make_libraries(work / "libraries")
    make_programs(work / "bin")


def rehearse(
    out: Path, work: Path, script: Path, gpu: str = "", more: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the script into `out`; `work` is what `prepare` filled."""
    return subprocess.run(
        ["nice", "-n", "19", "bash", str(script), str(out)],  # threads for a GPU's, by the hundred
        env={**os.environ, **variables(work, gpu), **(more or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--small", action="store_true", help="with the case files beside this")
    parser.add_argument("--gpu", default="", help="what the stub is, other than by default")
    given = parser.parse_args()
    work = given.out.resolve().with_suffix(".rehearsal")
    prepare(work)
    script = REPOSITORY / "ci" / "gpu.sh"
    if given.small:
        shutil.rmtree(work / "checkout", ignore_errors=True)
        script = make_checkout(work / "checkout", HERE)
    done = rehearse(given.out, work, script, given.gpu)
    print(done.stdout, end="")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
