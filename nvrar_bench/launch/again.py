"""Starts Python again on this very package, whatever the current folder holds.

    python .../nvrar_bench/launch/again.py nvrar_bench.inventory.survey 0

`python -m` looks for modules in the current folder first, and a folder of benchmarks may hold a
`tempfile.py`, or another copy of this package. Python before 3.11 has no option against that which
keeps PYTHONPATH, so the package is found by where this file is.
"""

from __future__ import annotations

import sys


def command(module: str = "nvrar_bench.__main__") -> tuple[str, ...]:
    """The words of a command line that runs `module` of this package; arguments follow."""
    return (sys.executable, __file__, module)


def _run(module: str, arguments: list[str]) -> None:
    import runpy

    _load_package()
    sys.argv = ["nvrar-bench", *arguments]
    runpy.run_module(module, run_name="__main__")


def _load_package() -> None:
    """Import the package from the folder around this one; no other place is looked at."""
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    name, folder = "nvrar_bench", Path(__file__).parents[1]
    spec = spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None  # noqa: S101 - for the type checker
    assert spec.loader is not None  # noqa: S101
    sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])


if __name__ == "__main__":
    if not getattr(sys.flags, "safe_path", False):
        del sys.path[0]  # the folder of this file: what is in it has names in the package alone
    _run(sys.argv[1], sys.argv[2:])
