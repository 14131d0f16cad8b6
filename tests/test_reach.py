"""Which test modules the fast loop leaves out."""

from pathlib import Path

import pytest

from tests.paths import ROOT
from tests.reach import HEAVY, reaches


@pytest.mark.parametrize("name", ["test_export", "test_preprocess", "test_demo", "test_deployment"])
def test_a_module_that_reaches_torch_or_a_program_is_left_out(name: str) -> None:
    assert reaches(ROOT / "tests" / f"{name}.py", HEAVY)


@pytest.mark.parametrize("name", ["test_batcher", "test_decode", "test_embedder", "test_bodies"])
def test_a_module_of_the_core_is_kept(name: str) -> None:
    assert not reaches(ROOT / "tests" / f"{name}.py", HEAVY)


def test_an_import_inside_a_function_of_the_product_does_not_count(tmp_path: Path) -> None:
    """That is where an engine is imported, so that it stays unloaded."""
    outside, inside = tmp_path / "outside.py", tmp_path / "inside.py"
    outside.write_text("import numpy\nfrom tests import checkpoints\n")
    inside.write_text("def load():\n    import torch\n")
    assert reaches(outside, HEAVY)
    assert not reaches(inside, HEAVY)
