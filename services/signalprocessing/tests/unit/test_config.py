from __future__ import annotations

from pathlib import Path

import pytest

from kubernaut_runtime.config import ConfigError, LoadedConfig, parse_config
from kubernaut_signalprocessing.config import SignalProcessingConfig

LIVE = (Path(__file__).parents[1] / "live-config.yaml").read_text()


def load(text: str, *, strict: bool = False) -> LoadedConfig[SignalProcessingConfig]:
    return parse_config(text.encode(), Path("config.yaml"), SignalProcessingConfig, strict=strict)


def test_the_live_systems_file_works_unchanged_and_knows_no_unknown_key() -> None:
    loaded = load(LIVE, strict=True)
    config = loaded.config
    assert (config.enrichment.cache_ttl, config.enrichment.timeout) == (300.0, 10.0)
    assert config.classifier.policy_path == Path("/etc/signalprocessing/policies/policy.rego")
    assert config.fleet.oauth2.token_url == "https://idp.example.com/token"
    assert config.fleet.oauth2.tls_ca_file == "/etc/idp/ca.crt"


@pytest.mark.behaviour(106)
def test_a_fleet_is_warned_of_and_nothing_else_of_the_live_file_is() -> None:
    (warning,) = load(LIVE).warnings
    assert "config.yaml: fleet.endpoint: is not supported" in warning


def test_an_empty_file_has_the_defaults() -> None:
    loaded = load("")
    config = loaded.config
    assert (config.enrichment.cache_ttl, config.enrichment.timeout) == (300.0, 10.0)
    assert config.classifier.rego_config_map_name == "signalprocessing-policy"
    assert config.classifier.policy_path == Path("/etc/signalprocessing/policies/policy.rego")
    assert config.classifier.hot_reload_interval == 30.0
    assert (config.fleet.endpoint, config.fleet.oauth2.scopes) == ("", ("openid", "groups"))
    assert loaded.warnings == ()


def test_the_addresses_of_data_storage_have_defaults_within_the_section() -> None:
    assert load("").config.datastorage is None
    section = load("datastorage: {timeout: 3s}").config.datastorage
    assert section is not None
    assert (section.url, section.health_url, section.timeout) == (
        "http://data-storage-service:8080",
        "http://data-storage-service:8080/readyz",
        3.0,
    )


def test_the_numbers_of_attempts_have_defaults_and_bounds() -> None:
    config = load("").config
    assert (config.enrichment.max_attempts, config.classifier.max_attempts) == (5, 3)
    for section in ("enrichment", "classifier"):
        with pytest.raises(ConfigError, match=rf"{section}\.maxAttempts"):
            load(f"{section}: {{maxAttempts: 0}}")


def test_the_policy_can_lie_elsewhere() -> None:
    classifier = load("classifier: {policyDir: /policies, regoConfigMapKey: mine.rego}").config.classifier
    assert classifier.policy_path == Path("/policies/mine.rego")


@pytest.mark.behaviour(104)
@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("enrichment: {cacheTtl: 0s}", "enrichment.cacheTtl"),
        ("enrichment: {timeout: 0s}", "enrichment.timeout"),
        ("enrichment: {timeout: soon}", "enrichment.timeout"),
        ('classifier: {regoConfigMapName: ""}', "classifier.regoConfigMapName"),
        ("classifier: {engine: opa}", "classifier.engine"),
        ("classifier: {hotReloadInterval: 0s}", "classifier.hotReloadInterval"),
        ('datastorage: {url: ""}', "datastorage.url"),
        ('datastorage: {healthUrl: ""}', "datastorage.healthUrl"),
        ("datastorage: {timeout: 0s}", "datastorage.timeout"),
        ("datastorage: {buffer: {bufferSize: 0}}", "datastorage.buffer.bufferSize"),
        ("datastorage: {buffer: {maxRetries: -1}}", "datastorage.buffer.maxRetries"),
        ("fleet: {mcpGatewayType: envoy}", "fleet.mcpGatewayType"),
    ],
)
def test_a_value_that_the_live_system_refuses_is_refused_by_name(text: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"config\.yaml: {key}"):
        load(text)


def test_a_policy_file_without_a_name_is_refused() -> None:
    """The Go controller takes it, and ends when it reads the folder as a file."""
    with pytest.raises(ConfigError, match=r"config\.yaml: classifier\.regoConfigMapKey: must not be empty"):
        load('classifier: {regoConfigMapKey: ""}')


@pytest.mark.behaviour(105)
def test_a_fleet_without_oauth2_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml: fleet: must have oauth2\.enabled: true when endpoint is set"):
        load("fleet: {endpoint: https://gateway}")


@pytest.mark.behaviour(105)
@pytest.mark.parametrize(
    ("section", "missing"),
    [
        ("{enabled: true}", "tokenURL and credentialsSecretRef"),
        ("{enabled: true, tokenURL: https://idp}", "credentialsSecretRef"),
        ("{enabled: true, credentialsSecretRef: fleet}", "tokenURL"),
    ],
)
def test_oauth2_without_its_references_is_refused(section: str, missing: str) -> None:
    with pytest.raises(ConfigError, match=rf"config\.yaml: fleet\.oauth2: must name {missing} when"):
        load(f"fleet: {{oauth2: {section}}}")


def test_an_unknown_key_is_told_with_its_nearest_neighbour() -> None:
    (warning,) = load("enrichment: {cacheTTL: 5m}").warnings
    assert "enrichment.cacheTTL" in warning
    assert "enrichment.cacheTtl" in warning
