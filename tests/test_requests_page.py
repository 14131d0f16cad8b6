"""docs/requests.md names the routes and the error codes of the code: all of them, and no others."""

import re
from collections.abc import Iterator

from common.errors import EmbeddingError, ImageError
from functions.responses import status_of_class
from tests.paths import ROOT
from tests.spoken import ROUTES

PAGE = (ROOT / "docs" / "requests.md").read_text("utf-8")
NEVER_SENT = {"cancelled"}  # its caller has gone


def section(heading: str) -> str:
    """The text under a heading, up to the next one."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    """The cells of each row of the table under a heading."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def names(cell: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def classes(of: type[EmbeddingError]) -> Iterator[type[EmbeddingError]]:
    """`of` and all of its subclasses."""
    yield of
    for own in of.__subclasses__():
        yield from classes(own)


def test_every_route_and_every_alias_has_a_row() -> None:
    written = [name for cells in rows("Routes") for name in names(cells[0])]
    served = [name for route in ROUTES for name in (route.name, *route.aliases)]
    assert sorted(written) == sorted(served)


def test_every_error_code_has_its_status() -> None:
    written = {
        (code, status)
        for statuses, codes, _ in rows("Errors")
        for code, status in zip(names(codes), _spread(statuses, len(names(codes))), strict=True)
    }
    sent = {
        (own.code, str(status_of_class(own)))
        for own in classes(EmbeddingError)
        if not issubclass(own, ImageError) and own.code not in NEVER_SENT
    }
    assert written == sent


def test_every_code_of_an_image_is_listed() -> None:
    (listed,) = re.findall(r"The codes of images are:(.+?)\.\s", section("Errors"), re.DOTALL)
    assert set(names(listed)) - {"gs://"} == {own.code for own in classes(ImageError)} - {
        "internal"
    }


def _spread(statuses: str, count: int) -> list[str]:
    given = statuses.split(", ")
    return given if len(given) == count else given * count
