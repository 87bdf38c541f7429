"""Every client sends the same commit: aiohttp, and the two of the kubernetes package; dicts and models alike."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import kubernetes
import kubernetes.aio
import pytest
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, ConfigDict
from widget_shop import WIDGETS, Shop, set_status

from kubernaut_status import (
    ApiCalls,
    ForbiddenError,
    InvalidError,
    ObjectKey,
    Outcome,
    StatusClient,
    TooLargeError,
    TransportError,
    UnauthorizedError,
)
from kubernaut_status.aiohttp_client import AiohttpClient
from kubernaut_status.kubernetes_adapter import AsyncKubernetesClient, SyncKubernetesClient
from kubernaut_status.wire import patch_status


@pytest.fixture(params=["aiohttp", "kubernetes", "kubernetes.aio"])
async def each_client(request: pytest.FixtureRequest, shop: Shop) -> AsyncIterator[StatusClient]:
    if request.param == "aiohttp":
        yield shop.client
        return
    module = kubernetes if request.param == "kubernetes" else kubernetes.aio
    configuration = module.client.Configuration()
    configuration.host = shop.control_plane.url
    configuration.ssl_ca_cert = str(shop.control_plane.ca_file)
    configuration.api_key = {"authorization": f"Bearer {shop.control_plane.admin_token}"}
    if module is kubernetes:
        yield SyncKubernetesClient(_named(kubernetes.client.ApiClient(configuration)))
    else:
        async with kubernetes.aio.client.ApiClient(configuration) as client:
            yield AsyncKubernetesClient(_named(client))


def _named(client: Any) -> Any:
    client.user_agent = "widget-painter/1.0"
    return client


async def test_each_client_commits_with_one_patch_and_recovers_from_a_conflict(
    shop: Shop, each_client: StatusClient
) -> None:
    widget = shop.create("w")
    manager = shop.manager(client=each_client)
    commit = await manager.atomic_status_update(widget, set_status(phase="Pending", message="日本 🚨"))
    shop.foreign_status("w", coats=1, reason="Elsewhere")
    commit = await manager.atomic_status_update(commit.object, set_status(phase="Painting"))
    assert commit.outcome is Outcome.WRITTEN
    assert shop.get("w")["status"]["message"] == "日本 🚨"
    assert shop.requests("w") == ["patch 200", "patch 409", "get 200", "patch 200"]


async def test_a_removed_field_is_removed_by_each_client(shop: Shop, each_client: StatusClient) -> None:
    widget = shop.create("w", phase="Pending", reason="Old")

    def forget(fresh: dict[str, Any]) -> None:
        del fresh["status"]["reason"]

    await shop.manager(client=each_client).atomic_status_update(widget, forget)
    assert shop.get("w")["status"] == {"phase": "Pending"}


async def test_broken_text_beside_a_removal_keeps_the_removal_with_each_client(
    shop: Shop, each_client: StatusClient
) -> None:
    widget = shop.create("w", phase="Pending", reason="Old")
    version = widget["metadata"]["resourceVersion"]
    patch = {"reason": None, "message": "a\ud800b"}
    request = patch_status(WIDGETS, ObjectKey(shop.namespace, "w"), patch, resource_version=version)
    assert (await each_client.send(request)).code == 200
    assert shop.get("w")["status"] == {"phase": "Pending", "message": "a?b"}


async def test_a_schema_error_names_the_field_with_each_client(shop: Shop, each_client: StatusClient) -> None:
    widget = shop.create("w")
    with pytest.raises(InvalidError, match=r"status\.coats"):
        await shop.manager(client=each_client).atomic_status_update(widget, set_status(coats="many"))


@pytest.mark.parametrize(("size", "code"), [(1_700_000, 500), (4_000_000, 413)], ids=["etcd", "api-server"])
async def test_a_status_that_is_too_large_is_refused_for_good_and_not_sent_again(
    shop: Shop, each_client: StatusClient, size: int, code: int
) -> None:
    widget = shop.create("w", phase="Pending")
    with pytest.raises(TooLargeError, match="too large"):
        await shop.manager(client=each_client).atomic_status_update(widget, set_status(message="x" * size))
    assert shop.requests("w") == [f"patch {code}"]
    assert shop.get("w")["status"] == {"phase": "Pending"}


async def test_permissions_are_typed_errors_and_name_no_token(shop: Shop) -> None:
    widget = shop.create("w")
    plane = shop.control_plane
    plane.service_account(shop.namespace, "powerless")
    token = plane.token(shop.namespace, "powerless")
    for given, error in ((token, ForbiddenError), ("s3cr3t-but-wrong", UnauthorizedError)):
        async with AiohttpClient(plane.url, ssl=shop.tls, token=lambda given=given: given, user_agent="x") as client:
            with pytest.raises(error) as caught:
                await shop.manager(client=client).atomic_status_update(widget, set_status(phase="Pending"))
            assert given not in str(caught.value)


async def test_no_server_is_an_error_that_certainly_sent_nothing(shop: Shop) -> None:
    async with AiohttpClient("https://127.0.0.1:1", ssl=shop.tls, user_agent="x") as client:
        with pytest.raises(TransportError, match="no answer to GET") as caught:
            await client.send(shop.read_request("w"))
    assert not caught.value.may_have_arrived


async def test_every_request_is_counted_with_its_code(shop: Shop) -> None:
    registry = CollectorRegistry()
    calls = ApiCalls("painter", registry)
    plane = shop.control_plane
    widget = shop.create("w")
    shop.foreign_status("w", coats=1)
    async with AiohttpClient(
        plane.url, ssl=shop.tls, token=lambda: plane.admin_token, user_agent="widget-painter/1.0", calls=calls
    ) as client:
        await shop.manager(client=client).atomic_status_update(widget, set_status(phase="Pending"))

    def counted(verb: str, subresource: str, code: int) -> float | None:
        labels = {"verb": verb, "resource": "widgets", "subresource": subresource, "code": str(code)}
        return registry.get_sample_value("k8s_api_calls_total", {"service": "painter", **labels})

    assert (counted("patch", "status", 409), counted("get", "", 200), counted("patch", "status", 200)) == (1, 1, 1)
    assert shop.requests("w") == ["patch 409", "get 200", "patch 200"]


class Status(BaseModel):
    model_config = ConfigDict(extra="allow")
    phase: str = ""
    coats: int = 0


class Widget(BaseModel):
    """A model that knows only a part of the object."""

    model_config = ConfigDict(extra="allow")
    metadata: dict[str, Any]
    status: Status = Status()


async def test_a_pydantic_model_goes_in_and_comes_out(shop: Shop) -> None:
    stored = shop.create("w", message="kept", conditions=[{"type": "A", "status": "True"}])

    def start(fresh: Widget) -> None:
        assert isinstance(fresh, Widget)
        fresh.status.phase = "Pending"
        fresh.status.coats += 1

    commit = await shop.manager().atomic_status_update(Widget.model_validate(stored), start)
    assert isinstance(commit.object, Widget)
    assert (commit.object.status.phase, commit.object.status.coats) == ("Pending", 1)
    status = shop.get("w")["status"]
    assert (status["message"], status["conditions"]) == ("kept", [{"type": "A", "status": "True"}])
    assert shop.requests("w") == ["patch 200"]


async def test_each_client_asks_for_the_form_of_the_answer_that_the_request_names(
    shop: Shop, each_client: StatusClient
) -> None:
    shop.create("w", phase="Pending")
    form = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    answer = await each_client.send(replace(shop.read_request("w"), accept=form))
    assert (answer.body["kind"], answer.body["metadata"]["name"]) == ("PartialObjectMetadata", "w")
    assert "status" not in answer.body
