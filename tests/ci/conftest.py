"""The scripts of ci/ are files beside each other, and import each other as such."""

from __future__ import annotations

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "ci"))
sys.path.append(str(REPOSITORY / "tests" / "devices" / "cuda"))  # the fake driver
sys.path.append(str(REPOSITORY / "tests" / "ci" / "rehearsal"))
