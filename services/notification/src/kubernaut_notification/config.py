"""The Notification controller's config file: the shared sections and `delivery`.

The Go controller's file works unchanged. What it accepts and then does not do is told as a warning: the console cannot
be switched off, because it is what routing falls back to; the file channel's timeout has no effect.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from kubernaut_runtime.durations import Duration, PositiveDuration, parse_duration
from kubernaut_runtime.sections import ConfigModel, ControllerConfig

from .delivery.breaker import BreakerSettings

DEFAULT_CONFIG_PATH = Path("/etc/notification/config.yaml")
DEFAULT_ROUTING_PATH = Path("/etc/notification-routing/routing.yaml")
ROUTING_PATH_ENV = "ROUTING_CONFIG_PATH"
"""Environment variable that overrides `DEFAULT_ROUTING_PATH`."""

DEFAULT_HTTP_TIMEOUT = 10.0


class ConsoleSection(ConfigModel):
    """`delivery.console`: `enabled` is always True; what the file said is kept for the warning."""

    enabled: bool = True
    _asked_off: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _always_on(self) -> Self:
        if not self.enabled:
            self._asked_off = True
            self.__dict__["enabled"] = True
        return self

    @property
    def asked_off(self) -> bool:
        """Whether the file tried to switch the console off."""
        return self._asked_off


def _no_text_is_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


class FileSection(ConfigModel):
    """`delivery.file`: the channel is on when `output_dir` is set. `timeout` is accepted and without effect."""

    output_dir: Annotated[Path | None, BeforeValidator(_no_text_is_none)] = None
    format: str = "json"
    timeout: Duration = 5.0


class LogSection(ConfigModel):
    """`delivery.log`: structured records; any format but `text` means JSON."""

    enabled: bool = False
    format: str = "json"


def _timeout(value: Any) -> Any:
    seconds = parse_duration(value) if isinstance(value, str) else value
    nothing = isinstance(seconds, int | float) and seconds <= 0
    return f"{DEFAULT_HTTP_TIMEOUT:g}s" if nothing else value


class SlackSection(ConfigModel):
    """`delivery.slack`: `timeout` of one call, for HTTP channels and for email; zero and less mean 10 seconds."""

    timeout: Annotated[Duration, BeforeValidator(_timeout)] = DEFAULT_HTTP_TIMEOUT


class CredentialsSection(ConfigModel):
    """`delivery.credentials`: the folder with one file per credential."""

    dir: Path = Path("/etc/notification/credentials/")


class CircuitBreakerSection(ConfigModel):
    """`delivery.circuitBreaker`: when a receiver on the network is left alone; one breaker per channel key.

    `failures` retryable failures in a row, within `window` seconds, open it for `open_for` seconds; then
    `half_open_probes` calls are let through at once, and as many successes close it.
    """

    failures: int = Field(default=3, ge=1)
    window: PositiveDuration = 10.0
    open_for: PositiveDuration = 30.0
    half_open_probes: int = Field(default=2, ge=1)

    @property
    def settings(self) -> BreakerSettings:
        """What a breaker is made with."""
        return BreakerSettings(self.failures, self.window, self.open_for, self.half_open_probes)


class DeliverySection(ConfigModel):
    """`delivery`: the channels, and how many calls may be under way at once.

    `max_concurrent_channels` bounds the calls of one notification, `max_calls_per_channel` those to one receiver.
    """

    console: ConsoleSection = Field(default_factory=ConsoleSection)
    file: FileSection = Field(default_factory=FileSection)
    log: LogSection = Field(default_factory=LogSection)
    slack: SlackSection = Field(default_factory=SlackSection)
    credentials: CredentialsSection = Field(default_factory=CredentialsSection)
    circuit_breaker: CircuitBreakerSection = Field(default_factory=CircuitBreakerSection)
    max_concurrent_channels: int = Field(default=8, ge=1, le=100)
    max_calls_per_channel: int = Field(default=32, ge=1, le=1000)


class NotificationConfig(ControllerConfig):
    """Everything that the controller's config file may hold."""

    delivery: DeliverySection = Field(default_factory=DeliverySection)

    def advice(self) -> list[str]:
        """Warnings about values that are accepted but do not do what they seem to."""
        lines = super().advice()
        if self.delivery.console.asked_off:
            lines.append("delivery.console.enabled: the console cannot be switched off and stays on")
        if "timeout" in self.delivery.file.model_fields_set:
            lines.append("delivery.file.timeout: has no effect; a write is never abandoned half-way")
        if self.delivery.file.output_dir is not None and self.delivery.file.format not in ("json", "yaml"):
            lines.append("delivery.file.format: is neither json nor yaml; every delivery to a file will fail for good")
        if self.delivery.log.format not in ("json", "text"):
            lines.append("delivery.log.format: is neither json nor text; json is used")
        breaker, calls = self.delivery.circuit_breaker, self.delivery.max_calls_per_channel
        if (math.ceil(breaker.failures / calls) - 1) * self.delivery.slack.timeout >= breaker.window:
            lines.append(
                f"delivery.circuitBreaker.window: is too short for {breaker.failures} timeouts, {calls} at once; "
                "a receiver that never answers opens no breaker"
            )
        return lines
