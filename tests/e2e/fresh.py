"""Environments with only what a requirements file asks for."""

import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path, PurePath

from packaging.requirements import Requirement

# What serving a bundle must not need.
HEAVY = {
    "torch",
    "torchvision",
    "open-clip-torch",
    "transformers",
    "multilingual-clip",
    "onnx",
    "onnxscript",
}


def install(folder: Path, requirements: Path) -> Path:
    """The interpreter of a new environment into which pip installs the file; takes a minute."""
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    command: list[str | Path] = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "-r",
        requirements,
    ]
    subprocess.run(command, check=True)
    subprocess.run([python, "-m", "pip", "check"], check=True, capture_output=True)
    return python


def link(folder: Path, requirements: Path) -> Path:
    """The interpreter of a new environment that links to this one's files of those packages.

    It holds what the file asks for and what that depends on, in the versions that both allow, as
    pip would choose them. Takes a second.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    site = next((folder / "lib").glob("python*")) / "site-packages"
    for package in needed_by(requirements).values():
        for part in {_part(package, file) for file in package.files or ()}:
            if ".." in part.parts:
                _write_script(package, part, python)
                continue
            (site / part).parent.mkdir(parents=True, exist_ok=True)
            (site / part).symlink_to(Path(str(package.locate_file(part))).resolve())
    return python


def needed_by(requirements: Path) -> dict[str, Distribution]:
    """The packages that the file asks for and all that they depend on, by name.

    Raises AssertionError if this environment has one in a version that is not asked for.
    """
    found: dict[str, Distribution] = {}
    seen: set[str] = set()
    waiting = list(_listed(requirements))
    while waiting:
        wanted = waiting.pop()
        package = distribution(wanted.name)
        assert wanted.specifier.contains(package.version, prereleases=True), str(wanted)
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        found[canonical(wanted.name)] = package
        for line in package.requires or ():
            further = Requirement(line)
            extras = wanted.extras or {""}
            if not further.marker or any(further.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(further)
    return found


def _listed(requirements: Path) -> Iterator[Requirement]:
    """What the file lists, and the files that it names with `-r`."""
    for line in requirements.read_text().splitlines():
        words = line.partition("#")[0].split()
        if words[:1] == ["-r"]:
            yield from _listed(requirements.parent / words[1])
        elif words and words[0] != "-c":
            yield Requirement(" ".join(words))


def _part(package: Distribution, file: PurePath) -> PurePath:
    """The folder around the file that belongs to the package alone, or the file itself."""
    for folder in reversed(file.parents[:-1]):
        is_package = Path(str(package.locate_file(folder / "__init__.py"))).exists()
        if ".." not in folder.parts and (is_package or folder.suffix in (".dist-info", ".libs")):
            return folder
    return file


def _write_script(package: Distribution, script: PurePath, python: Path) -> None:
    """A console script that runs in the new environment."""
    source = Path(str(package.locate_file(script)))
    if source.parent.name == "bin" and source.read_bytes().startswith(b"#!"):
        _, _, code = source.read_text().partition("\n")
        target = python.with_name(source.name)
        target.write_text(f"#!{python}\n{code}")
        target.chmod(0o755)


def canonical(name: str) -> str:
    """The name as pip compares it."""
    return name.lower().replace("_", "-").replace(".", "-")


def packages_of(python: Path) -> set[str]:
    """Names of the packages that it has."""
    code = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    listed = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return set(map(canonical, listed.stdout.split()))
