"""Draw docs/bulk.svg from build/bench-bulk.json: `python -m tests.benchmarks.bulk_chart`."""

import json
from typing import Any
from xml.sax.saxutils import escape

from tests.paths import ROOT

SHOWN = (
    ("images/s", "images a second", "more is better"),
    ("texts/s", "texts a second", "more is better"),
    ("images, peak MB", "memory, images", "MB, less is better"),
    ("texts, peak MB", "memory, texts", "MB, less is better"),
)
NAMES = ("python -m bulk, int8", "clip-retrieval inference, fp32")
COLOURS = ("#1a7f64", "#b8b8b8")
WIDTH, LABEL, ROW, GAP, TOP = 760, 200, 18, 18, 54
STYLE = (
    ".label{font-size:13px;font-weight:bold;fill:#333}.note,.value{font-size:11px;fill:#666}"
    "@media (prefers-color-scheme:dark){.label{fill:#ddd}.note,.value{fill:#aaa}}"
)


def draw(report: dict[str, Any]) -> str:
    """The chart: two bars for each of SHOWN, with a scale per group."""
    parts, top = [], TOP
    for name, label, note in SHOWN:
        values = report["figures"][name]
        parts.append(f'<text x="0" y="{top + 14}" class="label">{escape(label)}</text>')
        parts.append(f'<text x="0" y="{top + 30}" class="note">{note}</text>')
        for row, (value, colour) in enumerate(zip(values, COLOURS, strict=True)):
            width = max(1.0, value / max(values) * (WIDTH - LABEL - 80))
            y = top + row * ROW
            parts.append(
                f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{ROW - 3}"'
                f' fill="{colour}"/><text x="{LABEL + width + 6:.1f}" y="{y + 12}" class="value">'
                f"{value:,.{0 if value >= 100 else 1}f}</text>"
            )
        top += 2 * ROW + GAP
    legend = "".join(
        f'<rect x="{left}" y="24" width="12" height="12" fill="{colour}"/>'
        f'<text x="{left + 18}" y="34" class="value">{escape(name)}</text>'
        for left, name, colour in zip((LABEL, LABEL + 160), NAMES, COLOURS, strict=True)
    )
    machine = report["machine"]
    where = f"ViT-B/32, random weights of real size, {machine['cores']} cores of {machine['cpu']}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}"'
        f' font-family="sans-serif"><style>{STYLE}</style>'
        f'<text x="0" y="12" class="note">{escape(where)}</text>{legend}{"".join(parts)}</svg>\n'
    )


if __name__ == "__main__":
    target = ROOT / "docs" / "bulk.svg"
    target.write_text(draw(json.loads((ROOT / "build" / "bench-bulk.json").read_text())))
    print(target.relative_to(ROOT))
