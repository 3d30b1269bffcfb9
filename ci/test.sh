#!/usr/bin/env bash
# Sets up everything and passes the tests, on a bare machine: Python with pip and venv, a C++ compiler.
#
#     bash ci/test.sh            all of it: lint, types, GPU kernels, the tests on Open MPI, MPICH, Intel MPI
#     bash ci/test.sh openmpi    lint, types, GPU kernels and all tests on one MPI
#
# Many tests wait for deadlines, so three files of tests run at once, also on two cores. Explorers,
# sanitizers and the fault matrix use all cores by themselves.
#
# One virtual environment per MPI, in .venvs/ or $NVRAR_BENCH_VENVS.
set -euo pipefail
cd "$(dirname "$0")/.."

# The tests start a thousand processes: none of them shall compile the package again.
unset PYTHONDONTWRITEBYTECODE

venvs=${NVRAR_BENCH_VENVS:-.venvs}
mpis=${*:-openmpi mpich impi-rt}

# The first MPI runs every test; on the others run those that an MPI can make fail.
matrix="tests/cli/test_fault_matrix.py"
declare -A together=([first]="tests" [others]="tests/launch tests/cli/test_sweep.py")
declare -A alone=([first]="tests/exploration $matrix" [others]="$matrix")

install() {
    local folder="$venvs/$1"
    [ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv "$folder"
    "$folder/bin/python" -m pip install -qq --disable-pip-version-check -e '.[test]' "$1"
}

# The other environments are made while the first one is at work.
install "${mpis%% *}"
for mpi in ${mpis#"${mpis%% *}"}; do install "$mpi"; done &
installing=$!

which=first options=()
for mpi in $mpis; do
    bin="$venvs/$mpi/bin"
    if [ "$which" = first ]; then
        echo "== style, types"
        "$bin/ruff" check .
        "$bin/ruff" format --check .
        "$bin/mypy"
        echo "== kernels for GPUs"
        "$bin/nvrar-bench" compile --dtype bfloat16 --op sum
        wait "$installing"
    fi
    echo "== tests on $mpi"
    ignored=()
    for path in ${alone[$which]}; do ignored+=(--ignore "$path"); done
    # shellcheck disable=SC2086 # several paths
    "$bin/python" -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder "${ignored[@]}" "${options[@]}" \
        ${together[$which]}
    # shellcheck disable=SC2086
    "$bin/python" -m pytest -q ${alone[$which]}
    which=others options=(-m "not crowded")
    export NVRAR_BENCH_TEST_FAULTS=quick
done
