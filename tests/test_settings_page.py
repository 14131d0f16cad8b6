"""The table of settings is the settings' own descriptions."""

from common.config import Settings
from tests.settings_page import PAGE, page


def test_the_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text("utf-8") == page(), "run python -m tests.settings_page"


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
