"""The settings of the function, read from CLIP_* environment variables.

An unknown name or an invalid value is an error that names the variable.
"""

import difflib
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, ValidationError

from common.batcher import BatchLimits
from common.environment import variables
from common.images.limits import DecodeLimits, FetchLimits
from common.images.url_policy import UrlPolicy
from common.machine import WEIGHTS_DIR, default_model, usable_cores

PREFIX = "CLIP_"


class SettingsError(Exception):
    """The environment holds a CLIP_* name that is not a setting, or a value that cannot be used."""


def _split(value: object) -> object:
    """Split "a, b" into ("a", "b")."""
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    return value


Strings = Annotated[tuple[str, ...], BeforeValidator(_split)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_split)]
ProtocolName = Literal[
    "openai", "cohere", "voyage", "ollama", "tei", "weaviate", "immich", "bigquery"
]
Protocols = Annotated[tuple[ProtocolName, ...], BeforeValidator(_split)]
Towers = Annotated[tuple[Literal["text", "image"], ...], BeforeValidator(_split)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(BaseModel):
    """The settings: each field is the environment variable CLIP_<FIELD>.

    Variables that the platform names have an alias.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    model: str = Field(
        default_factory=default_model,
        min_length=1,
        description="the model to serve: a name in docs/models.md, or ARCHITECTURE/PRETRAINED of "
        "open_clip; default: the packaged model, otherwise clip",
    )
    engine: str = Field(
        "auto",
        min_length=1,
        description="auto: onnx if a bundle of the model is found, otherwise torch",
    )
    weights_dir: Path = Field(
        WEIGHTS_DIR,
        description="folder to search first for bundles and checkpoints, as <dir>/<model>/; "
        "default: weights beside main.py",
    )
    weights_uri: str = Field(
        "",
        pattern=r"^gs://[^/\s]+(/\S*)?$",
        description="gs://bucket/folder of a bundle to fetch when a tower is loaded",
    )
    allow_download: bool = Field(
        True, description="whether weights may be downloaded from the model hub"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: cuda if a CUDA device is available, otherwise cpu"
    )
    precision: Literal["auto", "int8", "fp32", "fp16", "bf16"] = Field(
        "auto",
        description="a bundle has int8 or fp32; the torch engine on cuda has fp16, bf16 or fp32",
    )
    num_threads: int = Field(
        default_factory=usable_cores,
        ge=1,
        le=256,
        description="compute threads; default: one per core",
    )
    preload: Towers = Field(
        (),
        description="towers to load when the worker starts, not on first use: "
        "text, image or text,image",
    )
    preprocess: Literal["corrected", "reference"] = Field(
        "corrected", description="reference: exactly the same pixels as open_clip"
    )

    max_batch_size: int = Field(
        BatchLimits.max_batch_size, ge=1, le=2048, description="items in one forward pass"
    )
    max_batch_wait_ms: float = Field(
        0, ge=0, le=1000, description="how long a busy encoder waits for a fuller batch"
    )
    max_queue_items: int = Field(
        BatchLimits.max_queue_items,
        ge=1,
        le=1_000_000,
        description="most texts that may wait; beyond it, requests get 429; an image counts as 16",
    )
    cache_mb: int | None = Field(
        None,
        ge=0,
        le=65_536,
        description="memory for a cache of text vectors; 0: no cache; default: 32 for a model that "
        "pads its texts (SigLIP), otherwise 0",
    )

    load_timeout_s: Seconds = Field(60, description="how long a request waits for a tower to load")
    health_wait_s: float = Field(
        2, ge=0, le=60, description="how long GET /health waits for towers to load"
    )
    request_timeout_s: Seconds = Field(60, description="the longest time that a request may take")

    fetch_timeout_s: Seconds = Field(
        FetchLimits.timeout_s,
        description="time for one image's download, with its redirects and retries",
    )
    fetch_retries: int = Field(
        FetchLimits.retries, ge=0, le=10, description="retries after a temporary failure"
    )
    fetch_concurrency: int = Field(
        FetchLimits.concurrency, ge=1, le=256, description="concurrent downloads of one request"
    )
    fetch_max_bytes: ByteSize = Field(
        ByteSize(FetchLimits.max_bytes),
        gt=0,
        description="largest image file, as a number of bytes or with a unit (20MiB)",
    )
    max_image_pixels: int = Field(
        DecodeLimits.max_pixels, ge=1, description="most pixels of an image that is not a JPEG"
    )
    fetch_user_agent: str = Field(
        FetchLimits.user_agent,
        min_length=1,
        description="User-Agent of downloads; some hosts refuse bots that name no contact",
    )
    fetch_allow_hosts: Strings = Field(
        (), description="host patterns (*.example.com) that downloads are restricted to"
    )
    fetch_allow_networks: Networks = Field(
        (), description="private networks (CIDR) that downloads may reach, on any port"
    )

    protocols: Protocols = Field(
        get_args(ProtocolName),
        description=f"beside the function's own routes: {', '.join(get_args(ProtocolName))}; "
        "a single comma turns all of them off",
    )
    playground: bool = Field(
        True, description="whether GET / shows browsers a page to try the function"
    )
    api_keys: Strings = Field((), description="accepted API keys; empty: anyone may call")
    cors_origins: Strings = Field((), description="origins whose pages may call; *: all")
    model_aliases: Strings = Field(
        (), description="other names by which requests may call the served model"
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", alias="LOG_LEVEL", description="least severity of log records"
    )
    project: str = Field(
        "",
        alias="GOOGLE_CLOUD_PROJECT",
        description="the Google Cloud project in the trace name of log records",
    )

    @property
    def fetching(self) -> FetchLimits:
        """How images are downloaded."""
        return FetchLimits(
            timeout_s=self.fetch_timeout_s,
            retries=self.fetch_retries,
            max_bytes=self.fetch_max_bytes,
            concurrency=self.fetch_concurrency,
            user_agent=self.fetch_user_agent,
        )

    @property
    def policy(self) -> UrlPolicy:
        """Where images may be downloaded from."""
        return UrlPolicy(self.fetch_allow_hosts, self.fetch_allow_networks)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read all settings from `environ`, where an empty value counts as unset.

        Raises SettingsError.
        """
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


def get_settings() -> Settings:
    """The settings that the environment of this process gives. Raises SettingsError."""
    return Settings.from_env(variables())
