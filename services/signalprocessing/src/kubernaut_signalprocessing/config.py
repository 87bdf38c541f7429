"""The SignalProcessing controller's config file: the shared sections, `enrichment`, `classifier` and `fleet`.

The Go controller's file works unchanged, and what it refuses is refused here. Three of its keys are checked and then
not used:

* `enrichment.cacheTtl`: namespaces are watched, so that no label is older than an event takes to arrive;
* `classifier.hotReloadInterval`: the policy is followed as a file, not read at intervals, as in the Go controller;
* `fleet.*`: remote clusters are not read; a `fleet.endpoint` is warned of, and told by `/readyz`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from kubernaut_runtime.durations import PositiveDuration
from kubernaut_runtime.sections import ConfigModel, ControllerConfig, DataStorageSection, HttpUrl, NonEmptyText

DEFAULT_CONFIG_PATH = Path("/etc/signalprocessing/config.yaml")
DEFAULT_POLICY_DIR = Path("/etc/signalprocessing/policies")
DEFAULT_MAPPINGS_PATH = Path("/etc/signalprocessing/proactive-signal-mappings.yaml")
MAPPINGS_PATH_ENV = "SIGNAL_MODE_CONFIG_PATH"
"""Environment variable that overrides `DEFAULT_MAPPINGS_PATH`."""


FLEET_UNSUPPORTED = "is not supported; signals with a clusterID end Failed"
"""What is said of a config with a fleet, in the log and in `/readyz`."""


class SignalProcessingDataStorageSection(DataStorageSection):
    """`datastorage`, where both URLs have defaults within the section."""

    url: HttpUrl = "http://data-storage-service:8080"
    health_url: HttpUrl = "http://data-storage-service:8080/readyz"


class EnrichmentSection(ConfigModel):
    """`enrichment`: `timeout` bounds the reads of one signal together. `cache_ttl` is accepted and without effect.

    `max_attempts` is for what does not pass by itself, as a missing namespace or permission; a busy API server is asked
    until the deadline.
    """

    cache_ttl: PositiveDuration = 300.0
    timeout: PositiveDuration = 10.0
    max_attempts: int = Field(default=5, ge=1, le=100)


class ClassifierSection(ConfigModel):
    """`classifier`: where the policy is. `hot_reload_interval` is accepted and without effect.

    `rego_config_map_name` is told to users only: the ConfigMap is mounted at `policy_dir`, and its key is the file.
    `max_attempts` is for a policy that gives no answer in time, or whose process dies. `engine` evaluates it; an
    engine other than the default has to be installed.
    """

    rego_config_map_name: NonEmptyText = "signalprocessing-policy"
    rego_config_map_key: NonEmptyText = "policy.rego"
    policy_dir: Path = DEFAULT_POLICY_DIR
    engine: Literal["regopy", "regorus"] = "regopy"
    hot_reload_interval: PositiveDuration = 30.0
    max_attempts: int = Field(default=3, ge=1, le=100)

    @property
    def policy_path(self) -> Path:
        """The policy file."""
        return self.policy_dir / self.rego_config_map_key


class OAuth2Section(ConfigModel):
    """`fleet.oauth2`: how the gateway to the fleet is asked; both references are needed when it is enabled."""

    enabled: bool = False
    token_url: str = Field(default="", alias="tokenURL")
    credentials_secret_ref: str = ""
    scopes: tuple[str, ...] = ("openid", "groups")
    tls_ca_file: str = Field(default="", alias="tlsCAFile")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        keys = {"tokenURL": self.token_url, "credentialsSecretRef": self.credentials_secret_ref}
        missing = [key for key, value in keys.items() if not value.strip()]
        if self.enabled and missing:
            raise ValueError(f"must name {' and '.join(missing)} when enabled is true")
        return self


class FleetSection(ConfigModel):
    """`fleet`: the gateway to remote clusters. Checked as the Go controller does, and not used."""

    endpoint: str = ""
    oauth2: OAuth2Section = OAuth2Section()
    mcp_gateway_type: Literal["", "eaigw", "kuadrant"] = ""
    namespace: str = ""

    @model_validator(mode="after")
    def _authenticated(self) -> Self:
        if self.endpoint.strip() and not self.oauth2.enabled:
            raise ValueError("must have oauth2.enabled: true when endpoint is set")
        return self


class SignalProcessingConfig(ControllerConfig):
    """Everything that the controller's config file may hold."""

    enrichment: EnrichmentSection = EnrichmentSection()
    classifier: ClassifierSection = ClassifierSection()
    datastorage: SignalProcessingDataStorageSection | None = None
    fleet: FleetSection = FleetSection()

    def advice(self) -> list[str]:
        """Warnings about values that are accepted but do not do what they seem to."""
        lines = super().advice()
        if self.fleet.endpoint.strip():
            lines.append(
                "fleet.endpoint: is not supported; signals of remote clusters (spec.signal.clusterID) end Failed"
            )
        return lines
