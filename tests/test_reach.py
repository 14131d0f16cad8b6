"""Which test modules the fast loop leaves out."""

from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.reach import HEAVY, reaches


@pytest.mark.parametrize("name", ["test_export", "test_torch_engine", "test_demo", "test_deployment"])
def test_a_module_that_reaches_torch_or_a_program_is_left_out(name: str) -> None:
    assert reaches(ROOT / "tests" / f"{name}.py", HEAVY)


@pytest.mark.parametrize("name", ["test_batcher", "test_decode", "test_embedding", "test_bodies"])
def test_a_module_of_the_core_is_kept(name: str) -> None:
    assert not reaches(ROOT / "tests" / f"{name}.py", HEAVY)


def test_what_is_imported_inside_a_function_counts(tmp_path: Path) -> None:
    """In tests: the product's engines are imported there so that they stay unloaded."""
    module = tmp_path / "test_a.py"
    module.write_text("import numpy\nfrom tests import checkpoints\n")
    assert reaches(module, HEAVY)
    module.write_text("def load():\n    import torch\n")
    assert not reaches(module, HEAVY)
