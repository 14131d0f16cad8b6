"""Finds what a test module imports, directly or not, by reading files without importing them."""

import ast
from functools import cache
from pathlib import Path

from tests.paths import ROOT

TESTS = ROOT / "tests"
# Helpers of ours that start a server, gcloud or bulk runs.
STARTERS = {"tests.e2e.server", "tests.gcloud", "tests.bulk_runs"}
TORCH = frozenset({"torch", "open_clip", "transformers", "tests.reference"})
HEAVY = frozenset({"onnx", "playwright", *TORCH, *STARTERS})


@cache
def reaches(module: Path, targets: frozenset[str]) -> bool:
    """Whether one of `targets` is imported, under its own name or by a part of it.

    Of the product, imports inside functions do not count: they are what keeps an engine unloaded.
    """
    names = {name for path in closure_of(module) for name in imports_of(path)}
    return any(name in targets or name.partition(".")[0] in targets for name in names)


@cache
def closure_of(module: Path) -> frozenset[Path]:
    """The module, and the project's files that it imports, directly or not."""
    seen: set[Path] = set()
    waiting = [module]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += [found for name in imports_of(path) if (found := file_of(name))]
    return frozenset(seen)


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Dotted names: of the module, and of what is taken from it."""
    tree = ast.parse(path.read_text("utf-8"))
    nodes = list(ast.walk(tree)) if path.is_relative_to(TESTS) else tree.body
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


@cache
def file_of(name: str) -> Path | None:
    """The project's file of that module, None if it is not ours."""
    base = ROOT.joinpath(*name.split("."))
    candidates = (base.with_suffix(".py"), base / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)
