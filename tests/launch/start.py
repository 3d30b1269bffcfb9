"""Runs the command given after the number of ranks, as --ranks does."""

import sys

from nvrar_bench.errors import NvrarBenchError
from nvrar_bench.launch.launcher import launch

if __name__ == "__main__":
    try:
        sys.exit(launch(int(sys.argv[1]), sys.argv[2:]))
    except NvrarBenchError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
