"""Print the table of docs/performance.md and draw docs/peers.svg from build/peers.json.

python -m tests.benchmarks.peers.report
"""

import json
from typing import Any
from xml.sax.saxutils import escape

from tests.benchmarks.peers.__main__ import REPORT
from tests.paths import ROOT

SHOWN = (
    ("16 callers, one text", "texts a second, 16 callers", "more is better"),
    ("16 callers, one image", "640×480 images a second, 16 callers", "more is better"),
    ("a 12-megapixel JPEG", "a 12-megapixel JPEG", "ms, less is better"),
    ("first text and image", "cold start, both towers", "ms, less is better"),
    ("memory, both towers", "memory, both towers", "MB, less is better"),
)
WIDTH, LABEL, ROW, GAP, TOP = 620, 180, 16, 14, 26
OURS, THEIRS = "#1a7f64", "#b8b8b8"
STYLE = (
    ".label{font-size:13px;font-weight:bold;fill:#333}.note,.value{font-size:11px;fill:#666}"
    "@media (prefers-color-scheme:dark){.label{fill:#ddd}.note,.value{fill:#aaa}}"
)


def shown(value: float) -> str:
    """Two or three digits that mean something."""
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}"


def table(report: dict[str, Any], alone: bool) -> str:
    """One row for each figure, one column for each system; the best value of a row is bold."""
    figures = [one for one in report["figures"] if one["name"].startswith("encoder") is alone]
    names = list(dict.fromkeys(name for figure in figures for name in figure["values"]))
    lines = ["| | " + " | ".join(report["titles"][name] for name in names) + " |"]
    lines.append("| --- |" + " --- |" * len(names))
    for figure in figures:
        values, unit = figure["values"], figure["unit"]
        best = (max if unit.endswith("/s") else min)(values.values())
        cells = [shown(values[name]) if name in values else "–" for name in names]
        cells = [
            f"**{c}**" if values.get(n) == best else c for n, c in zip(names, cells, strict=True)
        ]
        label = figure["name"].removeprefix("encoder alone, ")
        lines.append(f"| {label}, {unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(report: dict[str, Any]) -> str:
    """The chart: one bar for each system, with a scale per group."""
    figures = {figure["name"]: figure["values"] for figure in report["figures"]}
    parts, top = [], TOP
    for name, label, note in SHOWN:
        values = figures[name]
        parts.append(
            f'<text x="0" y="{top + 10}" class="label">{escape(label)}'
            f'<tspan class="note" dx="8" font-weight="normal">{note}</tspan></text>'
        )
        for row, (system, value) in enumerate(values.items(), 1):
            width = max(1.0, value / max(values.values()) * (WIDTH - LABEL - 60))
            y, colour = top + row * ROW, OURS if system in ("int8", "fp32") else THEIRS
            parts.append(
                f'<text x="0" y="{y + 10}" class="note">{escape(report["titles"][system])}</text>'
                f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{ROW - 3}"'
                f' fill="{colour}"/><text x="{LABEL + width + 6:.1f}" y="{y + 10}" class="value">'
                f"{shown(value)}</text>"
            )
        top += (len(values) + 1) * ROW + GAP
    machine = report["machine"]
    where = f"ViT-B/32, random weights of real size, {machine['cores']} cores of {machine['cpu']}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}"'
        f' font-family="sans-serif"><style>{STYLE}</style>'
        f'<text x="0" y="12" class="note">{escape(where)}</text>{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    found = json.loads(REPORT.read_text())
    (ROOT / "docs" / "peers.svg").write_text(draw(found))
    print(table(found, alone=False), table(found, alone=True), sep="\n\n")
