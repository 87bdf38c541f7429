"""The parts of Kubernetes' own API that every resource here carries: metadata, owners, conditions.

Only what controllers read is typed; everything else passes through (`extra="allow"`). The rules of `Condition` are
those of `metav1.Condition`, because tools such as `kubectl wait` rely on them.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from kubernaut_api.schema import ApiModel, Rule, Time

MAX_CONDITION_MESSAGE = 32768
"""Longest condition message that the API server takes, in code points."""


class OwnerReference(ApiModel):
    """One owner of an object; the garbage collector deletes the object after its last owner."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(ApiModel):
    """Standard object metadata, as far as controllers read it."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    owner_references: list[OwnerReference] = Field(default_factory=list)
    finalizers: list[str] = Field(default_factory=list)


class KubernetesObject(ApiModel):
    """What every resource begins with; a resource adds its `spec` and `status`."""

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = Field(default_factory=ObjectMeta)

    def identity(self) -> dict[str, Any]:
        """Return the object without its content, as JSON-ready data: what Events and logs name it by."""
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": self.metadata.to_wire()}


class Condition(ApiModel):
    """One observation of an object's state (`metav1.Condition`)."""

    last_transition_time: Annotated[Time | None, Rule(required=True)] = Field(
        default=None, description="When status last changed from one value to another."
    )
    message: Annotated[str, Rule(required=True, max_length=MAX_CONDITION_MESSAGE)] = Field(
        default="", description="Details of the last change for a human reader; may be empty."
    )
    observed_generation: Annotated[int, Rule(minimum=0, format="int64")] = Field(
        default=0, description="metadata.generation that the condition was computed from."
    )
    reason: Annotated[
        str,
        Rule(required=True, min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ] = Field(default="", description="Programmatic word for why the condition has its status, in CamelCase.")
    status: Annotated[str, Rule(required=True, enum=("True", "False", "Unknown"))] = Field(
        default="", description="Status of the condition."
    )
    type: Annotated[
        str,
        Rule(
            required=True,
            max_length=316,
            pattern=(
                r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
                r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
            ),
        ),
    ] = Field(default="", description="Type of the condition, in CamelCase or as prefix/CamelCase.")
