"""The rules of the architecture: allowed imports, and what may exist in only one place."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.reach import imports_of

DOORS = ("functions", "bulk", "export", "deploy")
SOURCES = [
    ROOT / "main.py",
    *(path for name in ("common", *DOORS) for path in sorted((ROOT / name).rglob("*.py"))),
]
PROTOCOLS = {
    "native",
    "openai",
    "cohere",
    "ollama",
    "tei",
    "voyage",
    "weaviate",
    "immich",
    "bigquery",
    "operation",
}
HANDLERS = {
    "text",
    "image",
    "mixed",
    "listed",
    "rank",
    "banner",
    "health",
    "docs",
    "metrics",
    "playground",
}
ENGINES = {"torch", "torchvision", "open_clip", "transformers", "multilingual_clip", "safetensors"}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, at the top or inside a function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


MODULES = {name_of(path): ast.parse(path.read_text("utf-8")) for path in SOURCES}
IMPORTS = {module: set(imports(tree)) for module, tree in MODULES.items()}


def importers(*roots: str) -> set[str]:
    """Our modules that import any of these, or something inside them."""
    return {
        module
        for module, found in IMPORTS.items()
        if any(
            imported == root or imported.startswith(root + ".")
            for imported in found
            for root in roots
        )
    }


def test_doors_import_the_library_and_never_each_other() -> None:
    """deploy alone runs the others' commands; it imports what both of them agree on."""
    for door in DOORS:
        importing = {module.partition(".")[0] for module in importers(door)}
        assert importing <= {door, "main"}, door


def test_the_library_knows_no_door_and_no_http_server() -> None:
    foreign = importers("flask", "werkzeug", "gunicorn", "functions_framework", *DOORS)
    assert not {module for module in foreign if module.startswith("common")}


def test_the_library_reads_no_settings_and_keeps_nothing_for_the_process() -> None:
    """No ContextVar of its own: threads for images copy the context. Doors own the settings."""
    assert importers("contextvars.ContextVar") == {"functions.request_record"}
    users = {module for module in importers("contextvars") if module.startswith("common")}
    assert users == {"common.images.pipeline"}
    settings = importers("common.config")
    assert not {module for module in settings if module.startswith("common")}


def test_tables_and_clusters_are_the_business_of_bulk_alone() -> None:
    assert importers("pyarrow") <= inside("bulk")
    assert importers("ray") == {"bulk.cluster"}


def test_functions_know_no_tensor() -> None:
    assert not {
        module for module in importers("numpy", "PIL", *ENGINES) if module.startswith("functions")
    }


def test_handlers_import_no_other_handler_and_nothing_that_imports_them() -> None:
    for handler in HANDLERS:
        others = (HANDLERS - {handler}) | PROTOCOLS | {"protocols", "router"}
        assert f"functions.{handler}" not in importers(*(f"functions.{other}" for other in others))


def test_a_protocol_knows_no_other_and_only_the_registry_knows_all() -> None:
    for protocol in PROTOCOLS:
        assert importers(f"functions.{protocol}") == {"functions.protocols"}


def test_openapi_knows_no_protocol() -> None:
    assert "functions.openapi" not in importers(
        *(f"functions.{name}" for name in PROTOCOLS | HANDLERS)
    )


def inside(*packages: str) -> set[str]:
    return {module for module in MODULES if module.startswith(packages)}


def test_engines_are_imported_in_the_engine_alone() -> None:
    export, torch_engine = inside("export"), inside("common.models.torch_engine")
    assert importers(*ENGINES) <= torch_engine | export
    assert importers("onnx") <= export
    assert importers("onnxruntime") <= export | {"common.models.onnx_engine"}
    assert importers("google") <= {"common.cloud_storage"}
    assert importers("common.models.torch_engine") <= torch_engine | export | {
        "common.models.engines.torch"
    }
    assert importers("common.models.onnx_engine") <= export | {"common.models.engines.onnx"}


def reads_environment(tree: ast.AST) -> bool:
    """Whether `os.environ` or `os.getenv` stands in it; `request.environ` is WSGI's."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        for node in ast.walk(tree)
    ) or bool({"os.environ", "os.getenv"} & set(imports(tree)))


def test_the_environment_is_touched_in_one_module_of_each_half() -> None:
    readers = {module for module, tree in MODULES.items() if reads_environment(tree)}
    # It sets what `common` reads while it is imported, so it cannot import `common` for it.
    assert readers == {"common.environment", "functions.quick_start"}


def test_status_numbers_stand_in_responses_alone() -> None:
    for module, tree in MODULES.items():
        if module.startswith("functions") and module != "functions.responses":
            numbers = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            assert not numbers & set(range(400, 600)), module


def test_imports_have_no_cycle() -> None:
    graph = {module: IMPORTS[module] & MODULES.keys() - {module} for module in MODULES}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path, module))
        if module not in done:
            for imported in graph[module]:
                visit(imported, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_import_main_loads_no_engine_and_starts_no_thread() -> None:
    code = (
        "import gc, os, sys, threading, main\n"
        "print(threading.active_count(), len(os.listdir('/proc/self/task')), gc.isenabled())\n"
        "print(*sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    printed = run.stdout.split()
    assert printed[:3] == ["1", "1", "True"]  # OpenBLAS's threads are not Python's
    assert not set(printed) & (ENGINES | {"onnxruntime", "tokenizers", "ftfy", "PIL", "urllib3"})


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_and_functions_stay_short(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 330, "a file this long is several things"
    for node in ast.walk(MODULES[name_of(path)]):
        if isinstance(node, ast.FunctionDef):
            lines = (node.end_lineno or 0) - node.body[0].lineno
            assert lines < 45, f"{node.name} is long: cut it"


def test_every_route_is_in_the_documents() -> None:
    from tests.spoken import ROUTES

    page = (ROOT / "docs" / "requests.md").read_text("utf-8")
    for route in ROUTES:
        assert f"`{route.method} {route.path}`" in page, route.path


def test_no_test_module_imports_another() -> None:
    """What several need is in a module of its own."""
    borrowing = [
        path.relative_to(ROOT)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if any(re.match(r"tests(\.\w+)*\.test_", name) for name in imports_of(path))
    ]
    assert borrowing == []
