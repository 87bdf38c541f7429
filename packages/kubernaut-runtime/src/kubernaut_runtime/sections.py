"""The sections that every controller's config file shares, key for key as the Go controllers' files have them.

A service derives its own model from `ControllerConfig` and adds its sections. Keys are camelCase in the file and
snake_case in Python. Keys that the Go controllers' files do not have (`statusUpdateMode`, `statusRefetch`,
`resyncPeriod`, the lease times, `maxConcurrentReconciles`) all have defaults, so old files work unchanged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from .addresses import BindAddressText
from .durations import PositiveDuration

DATA_STORAGE_BATCH = 500
"""Events that Data Storage takes in one request."""


class ConfigModel(BaseModel):
    """Base of every section: camelCase in files, immutable in code, unknown keys told by `load_config`."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
    )


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


def _upper(value: object) -> object:
    return (value.strip().upper() or "INFO") if isinstance(value, str) else value


def _lower(value: object) -> object:
    return (value.strip().lower() or "json") if isinstance(value, str) else value


NonEmptyText = Annotated[str, AfterValidator(_not_empty)]
"""A config field: a string with something in it."""


def _http_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be an http or https address with a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or password: requests carry the ServiceAccount's token")
    return text


HttpUrl = Annotated[NonEmptyText, AfterValidator(_http_url)]
"""A config field: an http(s) address without credentials in it."""


def _no_text_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


OptionalPath = Annotated[Path | None, BeforeValidator(_no_text_is_none)]
"""A config field: a path, None if absent or empty."""


class ControllerSection(ConfigModel):
    """`controller`: addresses, leader election, and how this process works its queue."""

    metrics_addr: BindAddressText = ":9090"
    health_probe_addr: BindAddressText = ":8081"
    leader_election: bool = False
    leader_election_id: NonEmptyText | None = None
    """Name of the Lease; None = `<service>.kubernaut.ai`."""
    lease_duration: PositiveDuration = 15.0
    renew_deadline: PositiveDuration = 10.0
    retry_period: PositiveDuration = 2.0
    status_update_mode: Literal["atomic", "sequential"] = "atomic"
    """`atomic`: one status write per pass; `sequential`: one per change, as before DD-PERF-001."""
    status_refetch: Literal["on_conflict", "always"] = "on_conflict"
    """`always` reads the object before each status write, as the standard literally says; for comparison."""
    resync_period: PositiveDuration = 600.0
    max_concurrent_reconciles: int = Field(default=10, ge=1, le=1000)
    """Passes at once; the Go controllers work on one object at a time, so a slow one delays all others."""

    @model_validator(mode="after")
    def _lease_times_fit(self) -> ControllerSection:
        # A leader must be silent before others may take over, and must have had time to try again.
        if not self.lease_duration > self.renew_deadline > self.retry_period:
            raise ValueError("must keep leaseDuration > renewDeadline > retryPeriod")
        return self


class DataStorageBuffer(ConfigModel):
    """`datastorage.buffer`: how audit events wait for their batch.

    `max_retries` failures in a row are expected; one more is told as an outage. No event is dropped because of it.
    """

    buffer_size: int = Field(default=10_000, gt=0)
    batch_size: int = Field(default=100, gt=0)
    flush_interval: PositiveDuration = 1.0
    max_retries: int = Field(default=3, ge=0)


class DataStorageSection(ConfigModel):
    """`datastorage`: where audit events go. The section may be left out; within it both URLs are required."""

    url: HttpUrl
    health_url: HttpUrl
    timeout: PositiveDuration = 10.0
    buffer: DataStorageBuffer = DataStorageBuffer()


class AuditSection(ConfigModel):
    """`audit`: where events go without `datastorage`; with it, what Data Storage does not get."""

    file: OptionalPath = None
    """Appended to, one JSON object per line; None = standard output (with `datastorage`: nowhere)."""


class LoggingSection(ConfigModel):
    """`logging`: level (any case, empty = INFO; changes apply while running) and format (json or console)."""

    level: Annotated[Literal["DEBUG", "INFO", "WARN", "ERROR"], BeforeValidator(_upper)] = "INFO"
    format: Annotated[Literal["json", "console"], BeforeValidator(_lower)] = "json"


class ControllerConfig(ConfigModel):
    """What every controller's config file may hold; services derive from it."""

    controller: ControllerSection = ControllerSection()
    datastorage: DataStorageSection | None = None
    audit: AuditSection = AuditSection()
    logging: LoggingSection = LoggingSection()
    tls_profile: str = ""
    """Old, Intermediate, Modern or empty; another value is only warned of, as in the Go controller."""

    def advice(self) -> list[str]:
        """Warnings about values that are accepted but do not do what they seem to; `key: text` each."""
        lines = []
        if self.tls_profile not in ("", "Old", "Intermediate", "Modern"):
            lines.append("tlsProfile: is none of Old, Intermediate, Modern and is ignored")
        if self.datastorage is not None:
            buffer, key = self.datastorage.buffer, "datastorage.buffer.batchSize"
            if buffer.batch_size > DATA_STORAGE_BATCH:
                lines.append(f"{key}: Data Storage refuses more than {DATA_STORAGE_BATCH} events at once; that is used")
            if buffer.batch_size > buffer.buffer_size:
                lines.append(f"{key}: is larger than bufferSize, which is used instead")
        return lines
