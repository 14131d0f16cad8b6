"""Settings: the only reader of the environment. A name we do not know, or a bad value, is an error that names it."""

import difflib
from collections.abc import Mapping
from functools import cache
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, ValidationError

from common.batcher import BatchLimits
from common.environment import variables
from common.images.limits import DecodeLimits, FetchLimits
from common.machine import WEIGHTS_DIR, usable_cores

PREFIX = "CLIP_"


class SettingsError(Exception):
    """The environment holds a CLIP_* name that is not a setting, or a value that cannot be used."""


def _split(value: object) -> object:
    """`a, b` → ("a", "b")."""
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    return value


Strings = Annotated[tuple[str, ...], BeforeValidator(_split)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_split)]
ProtocolName = Literal["openai", "cohere", "weaviate", "immich", "bigquery"]
Protocols = Annotated[tuple[ProtocolName, ...], BeforeValidator(_split)]
Towers = Annotated[tuple[Literal["text", "image"], ...], BeforeValidator(_split)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(BaseModel):
    """Each field is the environment variable CLIP_<FIELD>, but for the platform's own names, which have an alias."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    model: str = Field(
        "clip",
        min_length=1,
        description="the model to serve: clip, mclip, demo, demo-mclip or NAME/PRETRAINED of open_clip",
    )
    engine: str = Field(
        "auto",
        min_length=1,
        description="auto is onnx where a bundle of the model is found, else torch",
    )
    weights_dir: Path = Field(
        WEIGHTS_DIR,
        description="where bundles and checkpoints are looked for first: <dir>/<model>/; default: beside main.py",
    )
    weights_uri: str = Field(
        "",
        pattern=r"^gs://[^/\s]+(/\S*)?$",
        description="gs://bucket/folder of a bundle, which is fetched when a tower is loaded",
    )
    allow_download: bool = Field(True, description="may weights be fetched from the model hub")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto takes cuda where there is one"
    )
    precision: Literal["auto", "int8", "fp32", "fp16", "bf16"] = Field(
        "auto",
        description="of a bundle int8 or fp32; of the torch engine on cuda fp16, bf16 or fp32",
    )
    num_threads: int = Field(
        default_factory=usable_cores,
        ge=1,
        le=256,
        description="compute threads; default: the cores",
    )
    preload: Towers = Field(
        (),
        description="text, image or text,image: load in the worker at its start, not on first use",
    )
    preprocess: Literal["corrected", "reference"] = Field(
        "corrected", description="reference: open_clip's own behaviour to the bit"
    )

    max_batch_size: int = Field(
        BatchLimits.max_batch_size, ge=1, le=2048, description="items in one forward pass"
    )
    max_batch_wait_ms: float = Field(
        0, ge=0, le=1000, description="how long a busy engine waits for a fuller batch"
    )
    max_queue_items: int = Field(
        BatchLimits.max_queue_items,
        ge=1,
        le=1_000_000,
        description="texts that wait at once before further ones get 429, whatever their time; "
        "an image takes the place of 16",
    )
    cache_mb: int = Field(
        0, ge=0, le=65_536, description="memory for a cache of text vectors; 0 is none"
    )

    load_timeout_s: Seconds = Field(
        60, description="how long a request waits for a tower that is being loaded"
    )
    health_wait_s: float = Field(
        2, ge=0, le=60, description="how long GET /health waits for towers that are being loaded"
    )
    request_timeout_s: Seconds = Field(60, description="a request ends within this time")

    fetch_timeout_s: Seconds = Field(
        FetchLimits.timeout_s, description="one image's download, redirects and retries included"
    )
    fetch_retries: int = Field(
        FetchLimits.retries, ge=0, le=10, description="further tries after a failure that may pass"
    )
    fetch_concurrency: int = Field(
        FetchLimits.concurrency, ge=1, le=256, description="downloads of one request at a time"
    )
    fetch_max_bytes: ByteSize = Field(
        ByteSize(FetchLimits.max_bytes),
        gt=0,
        description="of one image; takes 20MiB or a number of bytes",
    )
    max_image_pixels: int = Field(
        DecodeLimits.max_pixels, ge=1, description="of one image that is not a JPEG"
    )
    fetch_user_agent: str = Field(
        FetchLimits.user_agent,
        min_length=1,
        description="add a contact: some hosts refuse bots without one",
    )
    fetch_allow_hosts: Strings = Field(
        (), description="host patterns (*.example.com) to restrict downloads to"
    )
    fetch_allow_networks: Networks = Field(
        (), description="networks (CIDR) to permit although they are private, on any port"
    )

    protocols: Protocols = Field(
        get_args(ProtocolName),
        description="spoken beside the function's own routes; , alone is none of them",
    )
    playground: bool = Field(
        True, description="does GET / give browsers a page to try the function on"
    )
    api_keys: Strings = Field(
        (), description="keys, one of which a request must carry; none: anyone may call"
    )
    cors_origins: Strings = Field((), description="origins whose pages may call; * is all")
    model_aliases: Strings = Field(
        (), description="further names that callers may give the served model"
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="LOG_LEVEL", description="what is logged"
    )
    project: str = Field(
        "",
        alias="GOOGLE_CLOUD_PROJECT",
        description="the project id that log records name their trace with",
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read all settings from `environ`; an empty value is an unset one. Raises SettingsError."""
        names = {
            field.alias or PREFIX + name.upper(): name for name, field in cls.model_fields.items()
        }
        values: dict[str, Any] = {}
        for variable, value in environ.items():
            if variable in names:
                if value.strip():
                    values[names[variable]] = value.strip()
            elif variable.startswith(PREFIX):
                close = difflib.get_close_matches(variable, names, n=1)
                raise SettingsError(
                    f"{variable} is not a setting"
                    + (f"; did you mean {close[0]}?" if close else "")
                )
        values["log_level"] = str(values.get("log_level", "INFO")).upper()
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            variable = {field: variable for variable, field in names.items()}.get(
                str(first["loc"][0]), str(first["loc"][0])
            )
            raise SettingsError(
                f"{variable}={environ.get(variable)!r} cannot be used: {first['msg']}"
            ) from error
        return settings


@cache
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings.from_env(variables())
