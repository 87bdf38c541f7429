from __future__ import annotations

from pathlib import Path

import pytest

from kubernaut_notification.config import NotificationConfig
from kubernaut_notification.delivery.breaker import BreakerSettings
from kubernaut_runtime.config import ConfigError, LoadedConfig, parse_config

LIVE = (Path(__file__).parents[1] / "live-config.yaml").read_text()


def load(text: str) -> LoadedConfig[NotificationConfig]:
    return parse_config(text.encode(), Path("config.yaml"), NotificationConfig)


def test_the_live_systems_file_works_unchanged() -> None:
    loaded = load(LIVE)
    delivery = loaded.config.delivery
    assert delivery.file.output_dir == Path("/tmp/notifications")
    assert (delivery.log.enabled, delivery.slack.timeout) == (True, 10.0)
    assert delivery.credentials.dir == Path("/etc/notification/credentials")
    (warning,) = loaded.warnings
    assert "delivery.file.timeout" in warning


def test_an_empty_file_has_the_defaults() -> None:
    loaded = load("")
    delivery = loaded.config.delivery
    assert (delivery.console.enabled, delivery.file.output_dir, delivery.log.enabled) == (True, None, False)
    assert (delivery.file.format, delivery.log.format, delivery.slack.timeout) == ("json", "json", 10.0)
    assert loaded.warnings == ()


def test_the_console_cannot_be_switched_off_and_that_is_told() -> None:
    loaded = load("delivery: {console: {enabled: false}}")
    assert loaded.config.delivery.console.enabled is True
    (warning,) = loaded.warnings
    assert "delivery.console.enabled" in warning


@pytest.mark.parametrize("value", ['""', '" "'])
def test_an_empty_output_folder_switches_the_file_channel_off(value: str) -> None:
    assert load(f"delivery: {{file: {{outputDir: {value}}}}}").config.delivery.file.output_dir is None


@pytest.mark.parametrize(
    ("value", "seconds"), [("0s", 10.0), ("-1s", 10.0), ("0", 10.0), ("2500ms", 2.5), ("1m", 60.0)]
)
def test_a_timeout_of_nothing_is_ten_seconds(value: str, seconds: float) -> None:
    assert load(f"delivery: {{slack: {{timeout: {value}}}}}").config.delivery.slack.timeout == seconds


@pytest.mark.parametrize("value", ["soon", "5", "[1]"])
def test_a_bad_timeout_names_file_and_key(value: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: delivery\.slack\.timeout"):
        load(f"delivery: {{slack: {{timeout: {value}}}}}")


def test_unknown_formats_are_told() -> None:
    warnings = load("delivery: {file: {outputDir: /x, format: xml}, log: {format: logfmt}}").warnings
    assert ["delivery.file.format" in line or "delivery.log.format" in line for line in warnings] == [True, True]


def test_an_unknown_key_is_told_with_its_nearest_neighbour() -> None:
    (warning,) = load("delivery: {slack: {timeOut: 3s}}").warnings
    assert "delivery.slack.timeOut" in warning
    assert "delivery.slack.timeout" in warning


def test_breakers_and_concurrency_have_defaults_and_can_be_set() -> None:
    delivery = load("").config.delivery
    assert delivery.circuit_breaker.settings == BreakerSettings(failures=3, window=10, open_for=30, probes=2)
    assert (delivery.max_concurrent_channels, delivery.max_calls_per_channel) == (8, 32)
    breaker_text = "circuitBreaker: {failures: 5, openFor: 1m, window: 2s, halfOpenProbes: 1}"
    delivery = load(f"delivery: {{{breaker_text}, maxConcurrentChannels: 2}}").config.delivery
    assert delivery.circuit_breaker.settings == BreakerSettings(failures=5, window=2, open_for=60, probes=1)
    assert delivery.max_concurrent_channels == 2


@pytest.mark.parametrize(
    "text", ["circuitBreaker: {failures: 0}", "circuitBreaker: {openFor: 0s}", "maxCallsPerChannel: 0"]
)
def test_a_breaker_or_a_bound_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: delivery\."):
        load(f"delivery: {{{text}}}")


@pytest.mark.parametrize(
    ("delivery", "told"),
    [
        ("{}", False),
        ("{maxCallsPerChannel: 3}", False),
        ("{maxCallsPerChannel: 2}", True),
        ("{maxCallsPerChannel: 2, slack: {timeout: 4s}}", False),
        ("{maxCallsPerChannel: 1, slack: {timeout: 5s}}", True),
    ],
)
def test_a_breaker_that_no_timeouts_would_open_is_told(delivery: str, told: bool) -> None:
    """So many calls at once end together; the next ones a timeout later."""
    warnings = load(f"delivery: {delivery}").warnings
    assert ["delivery.circuitBreaker.window: " in line for line in warnings] == [True] * told
