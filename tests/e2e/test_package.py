"""The folder that is deployed: what it contains, and that it serves alone from a hostile place."""

import ast
import compileall
import os
import subprocess
from pathlib import Path

import pytest

from common.errors import ModelUnavailable
from common.models.bundle import MANIFEST, read_bundle
from common.models.catalog import resolve
from deploy import package
from deploy.package import MADE_AT, Choice, PackageError, plan, write
from tests.e2e.fresh import HEAVY, packages_of
from tests.e2e.server import serve
from tests.paths import ROOT

SHADOWS = (
    "common",
    "functions",
    "deploy",
    "export",
    "tests",
    "main",
)  # modules that a machine may have of the same names
READ_ONLY = """
mount --bind /tmp /tmp
for folder in "$1" "$2"; do
    mount --bind "$folder" "$folder"
    mount -o remount,bind,ro "$folder"
done
mount -o remount,bind,ro /
shift 2
exec "$@"
"""


def packaged(
    folder: Path, model: str = "demo", engine: str = "onnx", root: Path = ROOT
) -> dict[str, int]:
    """Write a package; the sizes of its files by place."""
    write(plan(Choice(resolve(model), engine), root).files, folder)
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def read_only(*folders: Path) -> list[str | Path]:
    """A command under which only /tmp can be written to, except for these folders in it.

    Empty if the kernel does not allow own mounts. The tests then still see what was written.
    """
    tried = subprocess.run(["unshare", "--mount", "--map-root-user", "true"], capture_output=True)
    return ["unshare", "--mount", "--map-root-user", "sh", "-euc", READ_ONLY, "sh", *folders] * (
        not tried.returncode
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what is packaged that a test may spoil."""
    for name in (
        "main.py",
        "LICENSE",
        "constraints.txt",
        "requirements.txt",
        "requirements-serve.txt",
    ):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name in ("common", "functions"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    return tmp_path


def test_a_package_holds_one_model_and_what_serves_it(tmp_path: Path) -> None:
    sizes = packaged(tmp_path / "function")
    assert sum(sizes.values()) < 60e6
    assert {place.split("/")[0] for place in sizes} == {
        "main.py",
        "common",
        "functions",
        "LICENSE",
        "default_model.txt",
        "requirements.txt",
        "constraints.txt",
        ".gcloudignore",
    }
    weights = {place for place in sizes if place.startswith("common/models/demo/")}
    assert weights == {
        f"common/models/demo/bundles/demo/{name}"
        for name in (MANIFEST, "text.int8.onnx", "image.int8.onnx")
    }
    assert not [
        place
        for place in sizes
        if "torch_engine" in place or "export" in place or "__pycache__" in place
    ]
    served = (tmp_path / "function" / "requirements.txt").read_text()
    assert "onnxruntime==" in served
    assert "torch" not in served.replace("torch engine", "")
    torch = packaged(tmp_path / "torch", engine="torch")
    assert "common/models/demo/clip/open_clip_model.safetensors" in torch
    assert "torch==" in (tmp_path / "torch" / "requirements.txt").read_text()


def imported_by(source: Path) -> set[str]:
    """The modules of ours that a file imports, at the top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in ("common", "functions")}


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_a_package_holds_every_module_that_its_code_imports(engine: str) -> None:
    code = plan(Choice(resolve("demo"), engine)).code
    sources = [
        source
        for place, source in code.items()
        if place.endswith(".py") and isinstance(source, Path)
    ]
    for name in set().union(*map(imported_by, sources)):
        path = name.replace(".", "/")
        module = next(
            (place for place in (f"{path}.py", f"{path}/__init__.py") if (ROOT / place).is_file()),
            None,
        )
        if module and not (engine == "onnx" and "torch_engine" in module):
            assert module in code, f"{module} is imported, and deploy/package.py does not list it"


def test_a_package_holds_every_file_that_its_code_reads() -> None:
    """Beside the modules: the vocabulary, and what the pages are made of."""
    code = set(plan(Choice(resolve("demo"))).code)
    listed = subprocess.run(
        ["git", "ls-files", "common", "functions"], cwd=ROOT, capture_output=True, text=True
    )
    tracked = set(listed.stdout.split())
    assert tracked
    left_out = {
        place for place in tracked - code if not place.startswith("common/models/torch_engine/")
    }
    assert {place for place in left_out if not place.startswith("common/models/demo/")} == set()


def test_the_same_input_gives_the_same_package(tmp_path: Path) -> None:
    files = plan(Choice(resolve("demo"))).files
    first, second = write(files, tmp_path / "a"), write(files, tmp_path / "b")
    (tmp_path / "a" / "stale.py").touch()
    assert write(files, tmp_path / "a") == first == second
    one, two = (
        [path.relative_to(root) for path in sorted(root.rglob("*"))]
        for root in (tmp_path / "a", tmp_path / "b")
    )
    assert one == two
    assert {
        (path.stat().st_mode & 0o777, path.stat().st_mtime)
        for path in (tmp_path / "a").rglob("*.py")
    } == {(0o644, MADE_AT)}
    assert list(tmp_path.glob(".*")) == []


def test_everything_in_it_compiles(tmp_path: Path) -> None:
    packaged(tmp_path / "function")
    assert compileall.compile_dir(tmp_path / "function", quiet=1)


def test_a_file_with_a_syntax_error_is_named_and_nothing_is_written(tree: Path) -> None:
    (tree / "functions" / "broken.py").write_text("def f(:\n")
    with pytest.raises(PackageError, match=r"functions/broken\.py does not compile"):
        packaged(tree / "function", root=tree)
    assert not (tree / "function").exists()


def test_a_bundle_goes_with_the_precision_that_is_served(tree: Path, tmp_path: Path) -> None:
    """As `make export` leaves it, with both precisions."""
    source, folder = resolve("demo").bundle or Path(), tree / "weights" / "demo"
    folder.mkdir(parents=True)
    for path in source.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    manifest = (folder / MANIFEST).read_text()
    manifest = manifest.replace(
        '"int8": "image.int8.onnx"', '"fp32": "image.fp32.onnx", "int8": "image.int8.onnx"'
    )
    (folder / MANIFEST).write_text(
        manifest.replace('"sha256": {', '"sha256": {"image.fp32.onnx": "0",', 1)
    )
    (folder / "image.fp32.onnx").touch()
    packaged(tree / "function", root=tree)
    written = tree / "function/weights/demo"
    assert {path.name for path in written.iterdir()} == {path.name for path in source.iterdir()}
    assert set(read_bundle(written, resolve("demo")).manifest.image.files) == {"int8"}
    (folder / "image.int8.onnx").write_bytes(b"spoiled")
    with pytest.raises(ModelUnavailable, match=r"image\.int8\.onnx of its bundle has sha256"):
        packaged(tree / "function", root=tree)


def test_what_cannot_be_served_is_not_packaged(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PackageError, match="make export MODEL=clip"):
        packaged(tree / "function", "clip", root=tree)
    assert package.main(["no-such-model"]) == 1
    assert "no model " in capsys.readouterr().err


def test_weights_from_a_bucket_are_not_packaged_and_their_library_is(tmp_path: Path) -> None:
    assert (
        package.main(["clip", "--weights-uri", "gs://b/clip", "--out", str(tmp_path / "function")])
        == 0
    )
    assert not (tmp_path / "function" / "weights").exists()
    assert "google-cloud-storage==" in (tmp_path / "function" / "requirements.txt").read_text()


def test_the_package_passes_the_whole_smoke_test_with_its_own_requirements_alone(
    serve_python: Path, tmp_path: Path
) -> None:
    """Run from another folder, with a read-only home and only /tmp to write to.

    PYTHONPATH has modules with the names of ours. CLIP_MODEL is not set: the packaged model is
    served.
    """
    function, home, elsewhere = tmp_path / "function", tmp_path / "home", tmp_path / "elsewhere"
    packaged(function)
    requirements = (function / "requirements.txt").read_bytes()
    assert requirements == (ROOT / "requirements-serve.txt").read_bytes(), (
        "then serve_python is its environment"
    )
    assert not packages_of(serve_python) & HEAVY
    home.mkdir(mode=0o555)
    for name in SHADOWS:
        (elsewhere / "shadows").mkdir(parents=True, exist_ok=True)
        (elsewhere / "shadows" / f"{name}.py").write_text("raise RuntimeError('shadowed')")
    under = read_only(function, home)
    if under:
        assert subprocess.run(
            [*under, "touch", function / "written"], capture_output=True
        ).returncode
        assert not subprocess.run([*under, "touch", elsewhere / "written"]).returncode
    before = snapshot(function), snapshot(home), snapshot(elsewhere / "shadows")
    settings = {"PYTHONPATH": str(elsewhere / "shadows"), "HOME": str(home), "HF_HUB_OFFLINE": "1"}
    with serve(
        elsewhere,
        function / "main.py",
        serve_python,
        read_only(function, home),
        **settings,
        CLIP_MODEL="",
        CLIP_ALLOW_DOWNLOAD="false",
    ) as server:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        smoke = subprocess.run(
            [serve_python, "-m", "tests.smoke", server.url],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert smoke.returncode == 0, smoke.stdout + smoke.stderr + server.log.read_text()
        assert "FAIL" not in smoke.stdout
        assert server.get("/docs").status_code == 200
        assert server.get("/").json()["model"] == "demo"
    after = snapshot(function), snapshot(home), snapshot(elsewhere / "shadows")
    assert after == before
