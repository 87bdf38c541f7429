from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from kubernaut_runtime import Store
from kubernaut_signalprocessing.enrichment import (
    EnrichmentError,
    ForbiddenReadError,
    LocalReader,
    TransientReadError,
)
from kubernaut_signalprocessing.enrichment.kinds import NAMESPACES, NODES, PODS, TARGETS
from kubernaut_signalprocessing.enrichment.namespaces import WatchedNamespaces
from kubernaut_signalprocessing.enrichment.reader import METADATA_ONLY
from kubernaut_status import ObjectKey, Response, TransportError

DEPLOYMENTS = TARGETS["Deployment"]


STORED = {"name": "web", "uid": "u1", "resourceVersion": "7"}


class Wire:
    """A client whose answer is given."""

    def __init__(self, answer):
        self.answer, self.sent = answer, []

    async def send(self, request):
        self.sent.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def found(**metadata):
    return Response(200, {"kind": "PartialObjectMetadata", "metadata": {**STORED, **metadata}})


@pytest.mark.behaviour("W8", "W13")
async def test_metadata_alone_is_asked_for_and_the_present_state_of_it():
    wire = Wire(found(labels={"app": "web"}))
    metadata = await LocalReader(wire).metadata(DEPLOYMENTS, "shop", "web")
    assert metadata is not None
    assert metadata.labels == {"app": "web"}
    (request,) = wire.sent
    assert (request.verb, request.method, request.path) == (
        "get",
        "GET",
        DEPLOYMENTS.object_path(ObjectKey("shop", "web")),
    )
    assert request.accept == METADATA_ONLY
    assert not request.query, "a resourceVersion would allow an answer from a cache"


@pytest.mark.parametrize("code", [401, 429, 500, 503, 504])
@pytest.mark.behaviour(37, 38)
async def test_a_server_that_cannot_answer_now_is_a_transient_error(code):
    wire = Wire(Response(code, {"message": "come\nback", "reason": "Busy"}, retry_after=7.0))
    with pytest.raises(
        TransientReadError, match=rf"cannot read deployments\.apps shop/web: {code} Busy: come back"
    ) as e:
        await LocalReader(wire).metadata(DEPLOYMENTS, "shop", "web")
    assert e.value.retry_after == 7
    assert not e.value.permanent


async def test_no_answer_is_a_transient_error():
    with pytest.raises(TransientReadError, match="cannot read nodes n1: no answer"):
        await LocalReader(Wire(TransportError("no answer"))).metadata(NODES, "", "n1")


@pytest.mark.behaviour(36)
async def test_a_missing_permission_is_named():
    wire = Wire(Response(403, {"message": "User x cannot get", "reason": "Forbidden"}))
    with pytest.raises(ForbiddenReadError, match=r"grant verb get on deployments\.apps") as caught:
        await LocalReader(wire).metadata(DEPLOYMENTS, "shop", "web")
    error = caught.value
    assert (error.verb, error.resource, error.namespace) == ("get", "deployments.apps", "shop")
    assert "in namespace shop" in str(error)
    with pytest.raises(ForbiddenReadError, match="cannot get nodes at cluster scope"):
        await LocalReader(wire).metadata(NODES, "", "n1")


@pytest.mark.parametrize("answer", [Response(200, {}), Response(200, {"metadata": []})])
async def test_an_answer_without_an_object_is_not_the_api_servers_and_a_transient_error(answer):
    with pytest.raises(TransientReadError, match="is there a proxy before the API server"):
        await LocalReader(Wire(answer)).metadata(PODS, "shop", "web")


@pytest.mark.parametrize("answer", [Response(400, {}), found(labels="wrong")])
async def test_an_answer_that_makes_no_sense_is_an_error_that_is_none_of_the_others(answer):
    with pytest.raises(EnrichmentError, match="cannot read pods shop/web") as caught:
        await LocalReader(Wire(answer)).metadata(PODS, "shop", "web")
    assert type(caught.value) is EnrichmentError


async def test_what_is_not_there_is_none():
    assert await LocalReader(Wire(Response(404, {}))).metadata(PODS, "shop", "web") is None


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "..%2f", "x" * 254, "é" * 127])
async def test_an_impossible_name_is_not_asked_for(name):
    wire = Wire(found())
    assert await LocalReader(wire).metadata(PODS, "shop", name) is None
    assert await LocalReader(wire).metadata(PODS, name, "web") is None
    assert await LocalReader(wire).metadata(NAMESPACES, "", name) is None
    assert wire.sent == []


@given(st.text(max_size=260), st.text(max_size=20))
async def test_whatever_a_name_holds_it_stays_one_segment_of_the_path(name, namespace):
    wire = Wire(Response(404, {}))
    await LocalReader(wire).metadata(PODS, namespace, name)
    for request in wire.sent:
        path = urlsplit(str(URL("https://server" + request.path))).path
        assert [unquote(part) for part in path.split("/")] == [
            *("", "api", "v1", "namespaces"),
            namespace,
            "pods",
            name,
        ]


@pytest.mark.behaviour("W22")
async def test_a_namespace_that_the_watch_knows_costs_no_read():
    store, wire = Store(NAMESPACES, lambda *_: None), Wire(found(labels={"from": "server"}))
    namespaces = WatchedNamespaces(store, LocalReader(wire))
    watched = {"metadata": {"name": "shop", "uid": "u", "resourceVersion": "7", "labels": {"from": "watch"}}}
    store.observe("ADDED", watched)
    known = await namespaces.get("shop")
    assert known is not None
    assert (known.labels, wire.sent) == ({"from": "watch"}, [])
    fresh = await namespaces.get("new")
    assert fresh is not None
    assert fresh.labels == {"from": "server"}
    assert [request.path for request in wire.sent] == ["/api/v1/namespaces/new"]
    wire.answer = Response(404, {})
    assert await namespaces.get("gone") is None
