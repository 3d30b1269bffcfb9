"""A public method has a docstring, or overrides one that has: ruff does not look at bases."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "nvrar_bench"


def classes() -> dict[str, list[ast.ClassDef]]:
    """All classes of the package, by name."""
    found: dict[str, list[ast.ClassDef]] = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(node)
    return found


def described(node: ast.ClassDef, known: dict[str, list[ast.ClassDef]]) -> set[str]:
    """Names of methods with a docstring, of a class and of those it is made of."""
    names = {one.name for one in methods(node) if ast.get_docstring(one)}
    for base in node.bases:
        name = ast.unparse(base).partition("[")[0].rpartition(".")[2]
        for one in known.get(name, []):
            names |= described(one, known)
    return names


def methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    return (one for one in node.body if isinstance(one, ast.FunctionDef))


def test_public_methods_have_a_docstring_or_override_one_that_has():
    known = classes()
    silent = [
        f"{node.name}.{method.name}"
        for nodes in known.values()
        for node in nodes
        if not node.name.startswith("_")
        for method in methods(node)
        if not method.name.startswith("_") and method.name not in described(node, known)
    ]
    assert silent == []
