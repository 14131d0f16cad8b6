"""deploy/terraform parses, declares what it refers to, and sets what `make deploy` sets."""

import re
from typing import Any

import hcl2
import pytest
import yaml

from common.config import Settings
from deploy.submit import SIZES
from tests.paths import ROOT

FOLDER = ROOT / "deploy/terraform"
TEXTS = {path.name: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.tf"))}
ALL = "\n".join(TEXTS.values())


def unquoted(value: Any) -> Any:
    """Strings and keys without the quotes that the parser keeps."""
    if isinstance(value, dict):
        return {unquoted(key): unquoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unquoted(item) for item in value]
    return value.strip('"') if isinstance(value, str) else value


def blocks(kind: str) -> dict[str, Any]:
    """Blocks by their labels, joined by dots as references spell them."""
    found: dict[str, Any] = {}
    for text in TEXTS.values():
        for block in unquoted(hcl2.loads(text)).get(kind, []):
            ((label, inner),) = [item for item in block.items() if not item[0].startswith("__")]
            names = inner if kind == "resource" else {"": inner}
            found |= {
                f"{label}.{name}".rstrip("."): body
                for name, body in names.items()
                if not name.startswith("__")
            }
    return found


def test_every_reference_is_declared_and_every_variable_used() -> None:
    resources, variables = blocks("resource"), blocks("variable")
    assert len(resources) >= 12
    assert set(re.findall(r"\bvar\.(\w+)", ALL)) == set(variables)
    references = set(re.findall(r"\b(google_\w+\.\w+)\b", ALL))
    assert references <= set(resources)
    with pytest.raises(Exception, match="Unexpected"):
        hcl2.loads(TEXTS["main.tf"] + "\nresource {{")


def test_it_sets_what_make_deploy_sets() -> None:
    variables = {name: body.get("default") for name, body in blocks("variable").items()}
    size = SIZES["clip"]
    assert (variables["memory"], variables["cpu"]) == (size.memory, str(size.cpu))
    assert variables["concurrency"] == size.concurrency
    (function,) = blocks("resource")["google_cloudfunctions2_function.clip"]["service_config"]
    values = {"${var.model}": "clip", "${var.cpu}": "2", "${var.project}": "acme"}
    set_here = {k: values.get(v, v) for k, v in function["environment_variables"].items()}
    set_here = {k: v for k, v in set_here.items() if not k.startswith("__")}
    Settings.from_env(set_here)
    build = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())
    (script,) = [step["script"] for step in build["steps"] if step["id"] == "deploy"]
    assert all(f"{name}=" in script for name in set_here)


def test_the_alerts_read_what_the_other_files_define() -> None:
    for place in re.findall(r"path\.module}/([^\"]+)", ALL):
        assert (FOLDER / place).is_file()
