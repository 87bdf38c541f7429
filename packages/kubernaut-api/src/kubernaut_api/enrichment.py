"""What a signal is enriched with: SignalProcessing finds it out, later resources carry it on unchanged.

`KubernetesContext` is what the cluster says about the target, `BusinessClassification` what its labels say about the
business. They are types of their own because more than one resource holds them.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from kubernaut_api.schema import ApiModel, Rule

CRITICALITIES = ("Critical", "High", "Medium", "Low")
SLA_TIERS = ("Platinum", "Gold", "Silver", "Bronze")


class ClusterContext(ApiModel):
    """The cluster that the signal came from, as the fleet's registry knows it."""

    labels: dict[str, str] = Field(default_factory=dict, description="Labels of the cluster's registration.")


class NamespaceContext(ApiModel):
    """The target's namespace."""

    name: Annotated[str, Rule(required=True)] = Field(default="", description="Name of the namespace.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of the namespace.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations of the namespace.")


class WorkloadContext(ApiModel):
    """The target itself."""

    kind: Annotated[str, Rule(required=True)] = Field(default="", description="Kind of the target.")
    name: Annotated[str, Rule(required=True)] = Field(default="", description="Name of the target.")
    labels: dict[str, str] = Field(default_factory=dict, description="Labels of the target.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Annotations of the target.")


class OwnerChainEntry(ApiModel):
    """One owner. Its API version is `api_version` on the wire too, unlike every other field here."""

    namespace: str = Field(default="", description="Namespace of the owner; empty if it is cluster-scoped.")
    kind: Annotated[str, Rule(required=True)] = Field(default="", description="Kind of the owner.")
    name: Annotated[str, Rule(required=True)] = Field(default="", description="Name of the owner.")
    api_version: str = Field(default="", alias="api_version", description="API version of the owner.")


class KubernetesContext(ApiModel):
    """What the cluster says about the target of a signal."""

    cluster_id: str = Field(default="", alias="clusterID", description="Remote cluster that the facts came from.")
    cluster: ClusterContext | None = Field(default=None, description="Registration of the cluster, if it has one.")
    namespace: NamespaceContext | None = Field(default=None, description="Namespace of a namespaced target.")
    workload: WorkloadContext | None = Field(default=None, description="The target, if it was found.")
    owner_chain: list[OwnerChainEntry] = Field(
        default_factory=list, description="Controlling owners of the target, nearest first, without the target."
    )
    custom_labels: dict[str, list[str]] = Field(
        default_factory=dict, description="Labels that the policy gave to the signal, each with its values."
    )
    degraded_mode: bool = Field(default=False, description="Whether the target could not be read.")


class BusinessClassification(ApiModel):
    """Whom the target belongs to and what it is worth."""

    business_unit: str = Field(default="", description="Business unit that owns the target.")
    service_owner: str = Field(default="", description="Team or person that answers for the service.")
    criticality: Annotated[str, Rule(enum=CRITICALITIES)] = Field(
        default="", description="How critical the target is to the business."
    )
    sla_requirement: Annotated[str, Rule(enum=SLA_TIERS)] = Field(
        default="", description="Tier of the service level that the target is promised."
    )
