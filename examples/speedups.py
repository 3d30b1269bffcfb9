"""Print how much faster NVRAR is than each other backend at each size, from a run record.

nvrar-bench sweep --ranks 2 --json run.json
python examples/speedups.py run.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

record = json.loads(Path(sys.argv[1]).read_text())
medians = {
    (result["size_bytes"], result["backend"]): result["latency_us"]["median"]
    for result in record["results"]
}
for size, backend in sorted(medians):
    nvrar = medians.get((size, "nvrar"))
    if nvrar and backend != "nvrar":
        other = medians[size, backend]
        print(f"{size} bytes: {backend} {other:.2f} us, nvrar {nvrar:.2f} us, {other / nvrar:.2f}x")
