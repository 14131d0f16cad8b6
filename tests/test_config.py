"""Settings: every variable works, and a wrong one stops the start with its name."""

from ipaddress import ip_network

import pytest

from common.config import Settings, SettingsError


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_env({"PATH": "/bin", "CLIP_MODEL": ""})
    assert (settings.model, settings.fetch_max_bytes, settings.log_level) == (
        "clip",
        20 * 2**20,
        "INFO",
    )
    assert settings.num_threads >= 1


def test_values_are_read_in_their_types() -> None:
    settings = Settings.from_env(
        {
            "CLIP_MODEL": "demo",
            "CLIP_ALLOW_DOWNLOAD": "false",
            "CLIP_PRELOAD": "text, image",
            "CLIP_FETCH_MAX_BYTES": "1MiB",
            "CLIP_FETCH_ALLOW_HOSTS": "*.example.com,example.org",
            "CLIP_FETCH_ALLOW_NETWORKS": "127.0.0.0/8, ::1/128",
            "CLIP_REQUEST_TIMEOUT_S": "2.5",
            "LOG_LEVEL": "debug",
        }
    )
    assert settings.allow_download is False
    assert settings.preload == ("text", "image")
    assert settings.fetch_max_bytes == 2**20
    assert settings.fetch_allow_hosts == ("*.example.com", "example.org")
    assert settings.fetch_allow_networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert settings.request_timeout_s == 2.5
    assert settings.log_level == "DEBUG"


def test_a_mistyped_name_is_an_error_that_suggests_the_right_one() -> None:
    with pytest.raises(
        SettingsError, match=r"CLIP_MODLE is not a setting; did you mean CLIP_MODEL\?"
    ):
        Settings.from_env({"CLIP_MODLE": "demo"})


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CLIP_DEVICE", "tpu"),
        ("CLIP_NUM_THREADS", "many"),
        ("CLIP_MAX_BATCH_SIZE", "0"),
        ("CLIP_REQUEST_TIMEOUT_S", "-1"),
        ("CLIP_PRELOAD", "text,sound"),
        ("CLIP_FETCH_ALLOW_NETWORKS", "10.0.0.0/33"),
        ("LOG_LEVEL", "CHATTY"),
    ],
)
def test_a_bad_value_is_an_error_that_names_variable_and_value(variable: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({variable: value})
    assert f"{variable}={value!r} cannot be used" in str(raised.value)
