"""How one resource names another object.

| type | names | stands in |
|---|---|---|
| `ObjectReference` | any object, Kubernetes' own type | NotificationRequest and most other children |
| `RemediationRequestReference` | the parent; its name is required | SignalProcessing |
| `TargetResource` | what a signal is about | SignalProcessing |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from kubernaut_api.schema import ApiModel, Rule


class ObjectReference(ApiModel):
    """A reference to another object. Written as one piece (map type atomic): no two writers share its fields."""

    crd_extensions: ClassVar[Mapping[str, Any]] = {"x-kubernetes-map-type": "atomic"}

    api_version: str = Field(default="", description="API version of the referent.")
    field_path: str = Field(default="", description="Part of the referent that is meant, in JSON path notation.")
    kind: str = Field(default="", description="Kind of the referent.")
    name: str = Field(default="", description="Name of the referent.")
    namespace: str = Field(default="", description="Namespace of the referent.")
    resource_version: str = Field(default="", description="Version of the referent that this reference was made from.")
    uid: str = Field(default="", description="UID of the referent.")


class RemediationRequestReference(ApiModel):
    """The RemediationRequest that an object belongs to; its name correlates audit events."""

    api_version: str = Field(default="", description="API version of the RemediationRequest.")
    kind: str = Field(default="", description="Kind of the parent, RemediationRequest.")
    name: Annotated[str, Rule(required=True)] = Field(default="", description="Name of the RemediationRequest.")
    namespace: str = Field(default="", description="Namespace of the RemediationRequest.")
    uid: str = Field(default="", description="UID of the RemediationRequest.")


class TargetResource(ApiModel):
    """The resource that a signal is about. Kind and name are required and may be empty."""

    kind: Annotated[str, Rule(required=True)] = Field(default="", description="Kind of the resource, in CamelCase.")
    name: Annotated[str, Rule(required=True)] = Field(default="", description="Name of the resource.")
    namespace: str = Field(default="", description="Namespace of the resource; empty if it is cluster-scoped.")
