#!/usr/bin/env bash
# Sets up everything and passes the tests, on a bare machine: Python with pip and venv, a C++ compiler.
#
#     bash ci/test.sh                   all of it: lint, types, GPU kernels, the tests on three MPIs and with PyTorch
#     bash ci/test.sh -s lint openmpi   these steps of noxfile.py alone
#
# Environments lie in .venvs/ or $NVRAR_BENCH_VENVS, one for each step, and are made by $PYTHON.
set -euo pipefail
cd "$(dirname "$0")/.."

venvs=${NVRAR_BENCH_VENVS:-.venvs}
[ -x "$venvs/nox/bin/nox" ] || {
    "${PYTHON:-python3}" -m venv "$venvs/nox"
    "$venvs/nox/bin/python" -m pip install -qq --disable-pip-version-check nox
}
exec "$venvs/nox/bin/nox" --envdir "$venvs" "$@"
