"""Reading the metadata of one object: the only question that the enrichment asks a cluster.

Labels, annotations and owner references are all in metadata, so the API server is asked for nothing else
(`PartialObjectMetadata`, the API's own form for this): a Node or a Pod is often 20 times as large. Each read is a GET
of the present state, not of a cache: the labels of a Pod that has just been replaced would be those of another one.

Names come from alerts, so they are not trusted: one that no object can have is answered here, without a request. An
empty name would list the whole collection, `..` would read the namespace in place of the object.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import quote

from pydantic import ValidationError

from kubernaut_api import ObjectMeta
from kubernaut_runtime.text import cut, one_line
from kubernaut_status import (
    ApiError,
    ForbiddenError,
    NotFoundError,
    ObjectKey,
    Request,
    Resource,
    ServerError,
    StatusClient,
    TooManyRequestsError,
    TransportError,
    UnauthorizedError,
    stored_object,
)

from .errors import EnrichmentError, ForbiddenReadError, TransientReadError

METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
"""What asks the API server for an object's metadata alone."""

MAX_NAME = 253
"""Bytes of the longest name of an object (DNS subdomain, RFC 1123)."""

_MAX_DETAIL = 300


class ClusterReader(Protocol):
    """Reads metadata in one cluster."""

    async def metadata(self, resource: Resource, namespace: str, name: str) -> ObjectMeta | None:
        """Return the object's present metadata; None if there is no such object. `namespace` is empty for none.

        Raises `EnrichmentError`s: `TransientReadError`, `ForbiddenReadError`, or the bare one.
        """
        ...


class LocalReader:
    """A `ClusterReader` of the cluster that `client` is connected to; one GET for each call."""

    def __init__(self, client: StatusClient) -> None:
        self._client = client

    async def metadata(self, resource: Resource, namespace: str, name: str) -> ObjectMeta | None:
        """Return the object's present metadata; None if there is none. Raises `EnrichmentError`s."""
        if not possible_name(name) or (resource.namespaced and not possible_name(namespace)):
            return None
        path = resource.object_path(ObjectKey(quote(namespace, safe=""), quote(name, safe="")))
        request = Request("get", "GET", path, resource.plural, accept=METADATA_ONLY)
        what = f"{qualified(resource)} {f'{namespace}/' if namespace else ''}{name}"
        try:
            found = stored_object(await self._client.send(request), request)
            return ObjectMeta.model_validate(found["metadata"])
        except NotFoundError:
            return None
        except ForbiddenError as error:
            raise ForbiddenReadError(
                verb="get", resource=qualified(resource), namespace=namespace, detail=_brief(error.message)
            ) from error
        except (TooManyRequestsError, ServerError, UnauthorizedError) as error:
            raise TransientReadError(f"cannot read {what}: {_brief(error)}", retry_after=error.retry_after) from error
        except TransportError as error:
            raise TransientReadError(f"cannot read {what}: {_brief(error)}") from error
        except (ApiError, ValidationError) as error:
            raise EnrichmentError(f"cannot read {what}: {_brief(error)}") from error


def qualified(resource: Resource) -> str:
    """Return the resource's name as RBAC tools write it: `deployments.apps`, `pods`."""
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def possible_name(name: str) -> bool:
    """Whether an object can have this name: what the API server takes as one segment of a path, not too long."""
    return (
        name not in ("", ".", "..")
        and not any(c in name for c in "/%")
        and len(name.encode(errors="replace")) <= MAX_NAME
    )


def _brief(error: object) -> str:
    return cut(one_line(str(error)), _MAX_DETAIL)
