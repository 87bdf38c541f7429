"""Config files: the Go controllers' work unchanged, and every mistake is named with file, key and a way out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from kubernaut_runtime.addresses import BindAddress, parse_bind_address
from kubernaut_runtime.config import ConfigError, effective_values, load_config
from kubernaut_runtime.durations import PositiveDuration, format_duration, parse_duration
from kubernaut_runtime.sections import ConfigModel, ControllerConfig, ControllerSection

LIVE_FILE = """\
controller:
  metricsAddr: ":9090"
  healthProbeAddr: ":8081"
  leaderElection: false
  leaderElectionId: "notification.kubernaut.ai"
delivery:
  console:
    enabled: true
  file:
    outputDir: "/tmp/notifications"
    format: "json"
    timeout: 5s
  slack:
    timeout: 10s
  credentials:
    dir: "/etc/notification/credentials"
datastorage:
  url: "https://data-storage-service.kubernaut-system.svc.cluster.local:8080"
  healthUrl: "https://data-storage-service.kubernaut-system.svc.cluster.local:8080/readyz"
  timeout: 10s
  buffer:
    bufferSize: 10000
    batchSize: 100
    flushInterval: 1s
    maxRetries: 3
logging:
  level: info
  format: json
"""


class Switch(ConfigModel):
    enabled: bool = True


class FileDelivery(ConfigModel):
    output_dir: str = ""
    format: str = "json"
    timeout: PositiveDuration = 5.0


class Slack(ConfigModel):
    timeout: PositiveDuration = 10.0


class Credentials(ConfigModel):
    dir: str = "/etc/credentials/"


class Delivery(ConfigModel):
    console: Switch = Switch()
    file: FileDelivery = FileDelivery()
    slack: Slack = Slack()
    credentials: Credentials = Credentials()


class SampleConfig(ControllerConfig):
    delivery: Delivery = Delivery()
    receivers: tuple[Switch, ...] = ()
    rooms: dict[str, Slack] = Field(default_factory=dict)
    api_token: str = ""
    signing: SecretStr = SecretStr("")
    share: Annotated[float, Field(gt=0, le=1)] = 1.0


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str, *, strict: bool = False) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), SampleConfig, strict=strict)
    return [line.replace(str(tmp_path), "") for line in caught.value.problems]


def test_the_live_systems_file_loads_without_a_warning(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, LIVE_FILE), SampleConfig, strict=True)
    assert loaded.warnings == ()
    assert loaded.config.logging.level == "INFO"
    assert loaded.config.datastorage is not None
    assert loaded.config.datastorage.buffer.flush_interval == 1.0
    assert loaded.config.delivery.file.timeout == 5.0


def test_an_empty_file_and_empty_sections_give_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, ""), SampleConfig).config == SampleConfig()
    assert load_config(write(tmp_path, "controller:\ndelivery:\n  file:\n"), SampleConfig).config == SampleConfig()


def test_every_unknown_key_gives_one_warning_with_the_nearest_known_key(tmp_path: Path) -> None:
    text = (
        "controler: {}\ncontroller: {metrics_addr: ':1', resyncperiod: 5m}\nbatchSize: 5\nrooms: {a: {timeuot: 1s}}\n"
    )
    loaded = load_config(write(tmp_path, text), SampleConfig)
    assert [line.replace(str(tmp_path), "") for line in loaded.warnings] == [
        "/config.yaml: controler: unknown key, did you mean controller?; it is ignored",
        "/config.yaml: controller.metrics_addr: unknown key, did you mean controller.metricsAddr?; it is ignored",
        "/config.yaml: controller.resyncperiod: unknown key, did you mean controller.resyncPeriod?; it is ignored",
        "/config.yaml: batchSize: unknown key, did you mean datastorage.buffer.batchSize?; it is ignored",
        "/config.yaml: rooms.a.timeuot: unknown key, did you mean rooms.a.timeout?; it is ignored",
    ]
    assert loaded.config.controller.metrics_addr == ":9090", "a snake_case key must not work by accident"


def test_unknown_keys_are_fatal_when_strict(tmp_path: Path) -> None:
    assert problems(tmp_path, "receivers: [{enabled: true}, {enbled: true}]\n", strict=True) == [
        "cannot use /config.yaml: receivers[1].enbled: unknown key, did you mean receivers[1].enabled?"
    ]


def test_all_bad_values_are_told_at_once_one_line_each(tmp_path: Path) -> None:
    text = """\
controller: {metricsAddr: "9090", leaderElection: maybe, resyncPeriod: 10, statusUpdateMode: fast}
datastorage: {url: "", timeout: 0s, buffer: {maxRetries: -1, bufferSize: many}}
logging: {level: LOUD, format: xml}
delivery: nothing
share: 2
"""
    assert problems(tmp_path, text) == [
        "cannot use /config.yaml: controller.metricsAddr: must be an address such as :9090 or 127.0.0.1:9090, "
        "not '9090'",
        "cannot use /config.yaml: controller.leaderElection: must be a boolean, not 'maybe'",
        "cannot use /config.yaml: controller.statusUpdateMode: must be one of atomic, sequential, not 'fast'",
        "cannot use /config.yaml: controller.resyncPeriod: must be a duration such as 500ms, 10s, 5m or 1h30m "
        "(a number needs a unit), not 10",
        "cannot use /config.yaml: datastorage.url: must not be empty, not ''",
        "cannot use /config.yaml: datastorage.healthUrl: is required",
        "cannot use /config.yaml: datastorage.timeout: must be greater than 0, not '0s'",
        "cannot use /config.yaml: datastorage.buffer.bufferSize: must be an integer, not 'many'",
        "cannot use /config.yaml: datastorage.buffer.maxRetries: must be greater than or equal to 0, not -1",
        "cannot use /config.yaml: logging.level: must be one of DEBUG, INFO, WARN, ERROR, not 'LOUD'",
        "cannot use /config.yaml: logging.format: must be one of json, console, not 'xml'",
        "cannot use /config.yaml: delivery: must be a section with keys and values, not 'nothing'",
        "cannot use /config.yaml: share: must be less than or equal to 1, not 2",
    ]


def test_lease_times_that_cannot_work_are_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, "controller: {leaseDuration: 5s}\n") == [
        "cannot use /config.yaml: controller: must keep leaseDuration > renewDeadline > retryPeriod"
    ]


def test_secrets_never_appear_in_errors_or_in_the_summary(tmp_path: Path) -> None:
    text = "apiToken: [hunter2]\nsigning: {a: hunter2}\ncontroller: {metricsAddr: 'http://u:hunter2@h'}\n"
    assert "hunter2" not in "".join(problems(tmp_path, text))
    good = "apiToken: hunter2\nsigning: hunter2\ntlsProfile: 'http://u:hunter2@h'\n"
    summary = effective_values(load_config(write(tmp_path, good), SampleConfig).config)
    assert "hunter2" not in summary
    assert "resyncPeriod: 10m" in summary
    assert "dir: /etc/credentials/" in summary


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [1", "cannot use /config.yaml: line 1, column 6: expected ',' or ']'"),
        ("share: 1\nshare: 1\n", "cannot use /config.yaml: line 2, column 1: key 'share' is given twice"),
        ("- a\n", "cannot use /config.yaml: the file must hold keys and values, not a list"),
    ],
)
def test_broken_yaml_is_told_with_its_place(tmp_path: Path, text: str, line: str) -> None:
    assert problems(tmp_path, text)[0].startswith(line)


def test_a_missing_file_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read config file .*there is no such file; .*--config"):
        load_config(tmp_path / "no.yaml", SampleConfig)


def test_an_unknown_tls_profile_is_only_warned_of(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, "tlsProfile: Ancient\n"), SampleConfig)
    assert "tlsProfile" in loaded.warnings[0]


def test_addresses_of_data_storage_are_http_and_hold_no_credentials(tmp_path: Path) -> None:
    text = "datastorage: {url: 'ftp://h', healthUrl: 'https://u:hunter2@h/readyz'}\n"
    told = problems(tmp_path, text)
    assert [line.split(", not")[0] for line in told] == [
        "cannot use /config.yaml: datastorage.url: must be an http or https address with a host",
        "cannot use /config.yaml: datastorage.healthUrl: must not hold a user or password: requests carry the "
        "ServiceAccount's token",
    ]
    assert "hunter2" not in "".join(told)


def test_batches_that_cannot_be_as_large_as_asked_are_warned_of(tmp_path: Path) -> None:
    section = (
        "datastorage: {url: 'http://h', healthUrl: 'http://h/readyz', buffer: {bufferSize: 400, batchSize: 1000}}\n"
    )
    assert load_config(write(tmp_path, section), SampleConfig).config.advice() == [
        "datastorage.buffer.batchSize: Data Storage refuses more than 500 events at once; that is used",
        "datastorage.buffer.batchSize: is larger than bufferSize, which is used instead",
    ]


def test_an_audit_file_is_a_path_and_an_empty_one_is_none(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "audit: {file: /var/audit.jsonl}\n"), SampleConfig).config.audit.file == Path(
        "/var/audit.jsonl"
    )
    assert load_config(write(tmp_path, "audit: {file: ' '}\n"), SampleConfig).config.audit.file is None


def test_code_may_give_seconds_and_python_names() -> None:
    assert ControllerSection(resync_period=5, metrics_addr=":1").resync_period == 5.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1), ("10m", 600), ("1h30m", 5400), ("100ms", 0.1), ("1.5h", 5400), ("0", 0), ("-1s", -1), (".5s", 0.5)],
)
def test_go_durations_mean_what_go_means(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "10", "s", "1 s", "1d", "1s2", "-", "1e3s", "٣s", "99999999999h"])
def test_what_go_refuses_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_duration(text)


@given(st.floats(min_value=1e-6, max_value=1e8))
def test_a_formatted_duration_parses_to_the_same_time(seconds: float) -> None:
    assert math.isclose(parse_duration(format_duration(seconds)), seconds, rel_tol=1e-3, abs_tol=1e-8)


@pytest.mark.parametrize(("seconds", "text"), [(90, "1m30s"), (0.1, "100ms"), (3600, "1h"), (0, "0s"), (1.5, "1.5s")])
def test_durations_are_shown_as_go_writes_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_bind_addresses_take_their_host_from_the_environment_when_they_name_none() -> None:
    assert parse_bind_address(":9090", {}) == BindAddress(None, 9090)
    assert parse_bind_address(":9090", {"KUBERNAUT_BIND_HOST": "127.0.0.1"}) == BindAddress("127.0.0.1", 9090)
    assert parse_bind_address("10.0.0.1:80", {"KUBERNAUT_BIND_HOST": "127.0.0.1"}) == BindAddress("10.0.0.1", 80)
    assert parse_bind_address("[::1]:80", {}) == BindAddress("::1", 80)
    assert parse_bind_address("0", {}) is None
    for bad in ("", "9090", "a:b", "::1:80", "h:99999"):
        with pytest.raises(ValueError, match="must be an address"):
            parse_bind_address(bad, {})
