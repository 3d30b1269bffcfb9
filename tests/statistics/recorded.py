"""Samples of `nvrar-bench sweep --ranks 2 --iters 300` on a virtual machine with other work."""

import json
from pathlib import Path

RECORDED = json.loads((Path(__file__).parent / "data" / "recorded.json").read_text())
