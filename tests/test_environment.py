"""`.ci/environment`: which Python it uses, and when it rebuilds the environment."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import ROOT

SCRIPT = ROOT / ".ci" / "environment"
VENV = """if [ "$1" = -m ] && [ "$2" = venv ]; then
  mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; echo "version $VERSION" > "$3/pyvenv.cfg"; exit
fi
"""


def interpreter(folder: Path, version: str) -> Path:
    """A program that says it is Python `version`, and makes environments of itself."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "python"
    code = f"#!/bin/sh\nVERSION={version}\n{VENV}echo {version}\n"
    path.write_text(code)
    path.chmod(0o755)
    return path


def run(venv: Path, python: Path | str, *asked: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([SCRIPT, venv, python, *asked], capture_output=True, text=True)


def version_of(venv: Path) -> str:
    return (venv / "pyvenv.cfg").read_text().split()[-1]


@pytest.mark.parametrize("version", ["3.10", "3.14", "2.7", "4.0"])
def test_a_python_that_does_not_work_is_named_in_one_line(tmp_path: Path, version: str) -> None:
    done = run(tmp_path / "venv", interpreter(tmp_path / "other", version))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "needs Python 3.11, 3.12 or 3.13" in line
    assert f"is {version}." in line
    assert not (tmp_path / "venv").exists()


def test_a_python_that_is_not_there_is_named_too(tmp_path: Path) -> None:
    done = run(tmp_path / "venv", "no-such-python")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "no-such-python is not here" in done.stderr


def test_another_python_rebuilds_the_environment_when_it_is_asked_for(tmp_path: Path) -> None:
    """In a path with a blank."""
    venv = tmp_path / "a clone" / "venv"
    old, new = (interpreter(tmp_path / version, version) for version in ("3.11", "3.13"))
    assert run(venv, old).returncode == 0
    (venv / "stale").touch()
    assert run(venv, new).returncode == 0
    assert (version_of(venv), (venv / "stale").exists()) == ("3.11", True)
    assert run(venv, new, "yes").returncode == 0
    assert (version_of(venv), (venv / "stale").exists()) == ("3.13", False)


def test_a_half_made_environment_is_made_anew(tmp_path: Path) -> None:
    """As an interrupt leaves it: a Python without pip, and no stamp."""
    venv = tmp_path / "venv"
    interpreter(venv / "bin", "3.12")
    (venv / "half").touch()
    whole = interpreter(tmp_path / "whole", "3.12")
    assert run(venv, whole).returncode == 0
    assert (version_of(venv), (venv / "half").exists()) == ("3.12", False)
    assert (venv / ".python").exists()


def test_a_whole_environment_of_somebody_elses_making_is_kept(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (venv / "bin" / "pip").write_text("#!/bin/sh\n")
    (venv / "bin" / "pip").chmod(0o755)
    (venv / "theirs").touch()
    assert run(venv, sys.executable).returncode == 0
    assert (venv / "theirs").exists()
    assert (venv / ".python").stat().st_mtime == (venv / "pyvenv.cfg").stat().st_mtime


def test_the_real_interpreter_of_these_tests_is_kept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (tmp_path / "venv" / ".python").touch()
    (tmp_path / "venv" / "kept").touch()
    assert run(tmp_path / "venv", sys.executable, "yes").returncode == 0
    assert (tmp_path / "venv" / "kept").exists()
