"""`python -m tests.settings_page` writes docs/settings.md from the settings' descriptions."""

from pathlib import Path

from pydantic import ByteSize
from pydantic.fields import FieldInfo

from common.config import PREFIX, Settings
from tests.paths import ROOT

PAGE = ROOT / "docs" / "settings.md"
HEAD = """# Settings

For whoever serves or deploys the function.
At the end you know every setting, its default and its meaning.

All settings are environment variables.
A name or a value that is not known stops the start with a message that names it.
This page is written by `python -m tests.settings_page`.

| variable | default | meaning |
| --- | --- | --- |
"""
FOOT = """
functions-framework reads the platform's own `PORT` and `THREADS`. Keep `THREADS` at \
least at the deployed concurrency.
"""
COMPUTED = {
    "model": "`clip`, or the packaged model",
    "num_threads": "the cores",
    "weights_dir": "`weights` beside `main.py`",
    "cache_mb": "by the model",
    "fetch_user_agent": "`clip-embedding-function/` with the version",
    "protocols": "all",
}


def variable_of(name: str, field: FieldInfo) -> str:
    """The environment variable of a setting."""
    return field.alias or PREFIX + name.upper()


def page() -> str:
    """The whole page."""
    rows = [
        f"| `{variable_of(name, field)}` | {_default(name, field)} "
        f"| {_escaped(field.description or '')} |"
        for name, field in Settings.model_fields.items()
    ]
    return HEAD + "\n".join(rows) + "\n" + FOOT


def _escaped(text: str) -> str:
    """`<dir>` would be an HTML element on the page."""
    return text.replace("<", "&lt;").replace("|", "\\|")


def _default(name: str, field: FieldInfo) -> str:
    if name in COMPUTED:
        return COMPUTED[name]
    value = field.default
    if isinstance(value, ByteSize):
        return value.human_readable(separator=" ", decimal=False).replace(".0", "")
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in ("", (), None):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{value}`"


if __name__ == "__main__":
    Path(PAGE).write_text(page(), "utf-8")
