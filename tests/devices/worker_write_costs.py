"""What writing costs between two ranks: worker_write_costs.py."""

from __future__ import annotations

import json
import sys

from nvrar_bench.devices.cpu import write_costs
from nvrar_bench.run.as_rank import join_world


def main() -> None:
    world = join_world()
    costs = write_costs(world)
    if world.rank == 0:
        json.dump(costs, sys.stdout)


if __name__ == "__main__":
    main()
