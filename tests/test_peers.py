"""The benchmark of peers: their pinned requirements, their addresses, its table and its chart."""

import re
from pathlib import Path

import pytest

from tests.benchmarks.peers import systems
from tests.benchmarks.peers.report import SHOWN, draw, table
from tests.benchmarks.peers.systems import ENCODERS, SYSTEMS

REQUIREMENTS = sorted(Path(systems.__file__).parent.glob("*.txt"))
SYSTEM = {system.name: system for system in SYSTEMS}


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.stem)
def test_each_requirement_of_a_peer_is_pinned_and_none_is_a_torch(path: Path) -> None:
    lines = [line.partition("#")[0].strip() for line in path.read_text().splitlines()]
    required = [line for line in lines if line]
    assert required
    for line in required:
        assert re.fullmatch(r"[\w.-]+==[\w.+]+", line)
        assert not line.startswith(("torch", "nvidia", "triton"))


def test_each_peer_has_requirements() -> None:
    peers = {*SYSTEM, *ENCODERS} - {"int8", "fp32"}
    assert peers == {path.stem for path in REQUIREMENTS}


def test_a_thousand_texts_are_one_request_where_the_peer_can_take_them() -> None:
    requests = {name: len(system.texts(["a fox"] * 1000)) for name, system in SYSTEM.items()}
    assert requests.pop("immich") == 1000
    assert set(requests.values()) == {1}


def test_the_table_marks_who_is_ahead_and_the_chart_draws_all() -> None:
    names = [(name, "texts/s" if "text," in f"{name}," else "ms") for name, *_ in SHOWN]
    figures = [
        {"name": name, "unit": unit, "values": {"int8": 10.0, "immich": 20.0}}
        for name, unit in (*names, ("encoder alone, start", "ms"))
    ]
    titles = {"int8": "ours & others", "immich": "theirs"}
    report = {"machine": {"cores": 2, "cpu": "any"}, "titles": titles, "figures": figures}

    lines = table(report, alone=False).splitlines()

    assert lines[0] == "| | ours & others | theirs |"
    assert lines[2] == "| 16 callers, one text, texts/s | 10.0 | **20** |"
    assert "| a 12-megapixel JPEG, ms | **10.0** | 20 |" in lines
    assert table(report, alone=True).splitlines()[2:] == ["| start, ms | **10.0** | 20 |"]
    chart = draw(report)
    assert chart.count("<rect") == 2 * len(SHOWN)
    assert "ours &amp; others" in chart
