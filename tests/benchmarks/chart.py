"""Draw docs/benchmark.svg from build/bench.json: `python -m tests.benchmarks.chart`."""

import json
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from tests.paths import ROOT

SHOWN = (
    ("16 callers, one text, rate", "text, 16 callers", "texts/s"),
    ("16 callers, one image, rate", "image 640×480, 16 callers", "images/s"),
    ("a 12-megapixel JPEG", "a 12-megapixel JPEG", "ms"),
    ("both towers", "cold start, both towers", "ms"),
    ("both towers, memory", "memory, both towers", "MB"),
)
COLOURS = {"int8": "#1a7f64", "fp32": "#5aa9e6", "baseline": "#b8b8b8"}
NAMES = {"int8": "int8", "fp32": "fp32", "baseline": "FastAPI + open_clip"}
# Narrow, with labels above the bars, so that a phone can show it. SHOWN_WIDTH is in pixels.
WIDTH, SHOWN_WIDTH, HEAD, ROW, GAP, TOP = 460, 620, 20, 16, 14, 50


def draw(report: dict[str, Any]) -> str:
    """The chart: three bars for each of SHOWN, with a scale per group."""
    figures: dict[str, dict[str, float]] = {}
    for result in report["results"]:
        by_name = figures.setdefault(result["name"], {"baseline": result["baseline"]})
        by_name[result["precision"]] = result["ours"]
    parts, top = [], TOP
    for name, label, unit in SHOWN:
        values = figures[name]
        better = "more is better" if unit.endswith("/s") else "less is better"
        parts.append(
            f'<text x="0" y="{top + 14}" class="label">{escape(label)}'
            f'<tspan class="note" dx="8">{unit}, {better}</tspan></text>'
        )
        top += HEAD
        for row, key in enumerate(COLOURS):
            width = max(1.0, values[key] / max(values.values()) * (WIDTH - 50))
            y = top + row * ROW
            parts.append(
                f'<rect x="0" y="{y}" width="{width:.1f}" height="{ROW - 3}"'
                f' fill="{COLOURS[key]}"/>'
            )
            parts.append(
                f'<text x="{width + 6:.1f}" y="{y + 11}" class="value">{values[key]:,.0f}</text>'
            )
        top += 3 * ROW + GAP
    legend, left = [], 0
    for key, colour in COLOURS.items():
        legend.append(f'<rect x="{left}" y="24" width="12" height="12" fill="{colour}"/>')
        legend.append(f'<text x="{left + 18}" y="34" class="value">{NAMES[key]}</text>')
        left += 80 if key != "baseline" else 0
    machine = report["machine"]
    where = f"ViT-B/32, random weights of real size, {machine['cores']} cores of {machine['cpu']}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}"'
        f' width="{SHOWN_WIDTH}" height="{top * SHOWN_WIDTH // WIDTH}"'
        ' font-family="sans-serif">'
        "<style>.label{font-size:13px;font-weight:bold;fill:#333}.note,.value{font-size:11px;font-weight:normal;fill:#666}"
        "@media (prefers-color-scheme:dark){.label{fill:#ddd}.note,.value{fill:#aaa}}</style>"
        f'<text x="0" y="12" class="note">{escape(where)}</text>'
        f"{''.join(legend)}{''.join(parts)}</svg>\n"
    )


if __name__ == "__main__":
    target = Path(ROOT / "docs" / "benchmark.svg")
    target.parent.mkdir(exist_ok=True)
    target.write_text(draw(json.loads((ROOT / "build" / "bench.json").read_text())))
    print(target.relative_to(ROOT))
