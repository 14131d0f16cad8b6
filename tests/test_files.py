"""A folder is replaced in one step, or stays as it was."""

import hashlib
from pathlib import Path

import pytest

from common.files import replacing, sha256_of


def test_the_new_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    for content in ("first", "second"):
        with replacing(folder) as build:
            (build / "file").write_text(content)
        assert (folder / "file").read_text() == content
    assert folder.stat().st_mode & 0o777 == 0o755
    assert list(tmp_path.iterdir()) == [folder], "nothing stays beside it"


def test_a_failure_leaves_the_old_folder(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "file").write_text("former")
    with pytest.raises(FileExistsError), replacing(folder) as build:  # noqa: PT012
        (build / "file").write_text("half")
        build.mkdir()
    assert (folder / "file").read_text() == "former"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("content", [b"", b"weights", b"x" * 300_000])
def test_the_sha256_is_that_of_the_content(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(content).hexdigest()
