"""Each fault is seen by the client as it should be, and by the real API server as it should be."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import yaml

from kubernaut_testing import ControlPlane, RequestLedger
from kubernaut_testing.proxy import (
    After,
    Before,
    BlackHole,
    Delay,
    DropWatch,
    Duplicate,
    ErrorFrame,
    FaultProxy,
    ProxiedRequest,
    Reorder,
    Replay,
    ResetAfter,
    ResetBefore,
    Rule,
    StaleList,
    Status,
    Swallow,
)
from kubernaut_testing.rest import AdminClient, ApiError

from .conftest import Widgets

AGENT = "proxied/1.0"


class Proxied:
    """Requests through the proxy, each on a connection of its own, so that no client hides a fault."""

    def __init__(self, proxy: FaultProxy, control_plane: ControlPlane, namespace: str) -> None:
        self.proxy, self.control_plane = proxy, control_plane
        self.base = f"/apis/example.com/v1/namespaces/{namespace}/widgets"

    def request(self, method: str, path: str = "", body: Any = None, kind: str = "application/merge-patch+json") -> Any:
        assert self.proxy.ca_file is not None
        client = AdminClient(self.proxy.url, self.control_plane.admin_token, self.proxy.ca_file, user_agent=AGENT)
        return client.request(method, self.base + path, body, content_type=kind)

    def status(self, name: str, **status: Any) -> Any:
        return self.request("PATCH", f"/{name}/status", {"status": status})

    @asynccontextmanager
    async def watch(self, **query: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        ssl = False
        headers = {"Authorization": f"Bearer {self.control_plane.admin_token}", "User-Agent": AGENT}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(self.proxy.url + self.base, params={"watch": "1", **query}, ssl=ssl) as response,
        ):
            assert response.status == 200

            async def events() -> AsyncIterator[dict[str, Any]]:
                while line := await response.content.readline(max_line_length=4 << 20):
                    yield json.loads(line)

            yield events()


@pytest.fixture
def proxied(fault_proxy: FaultProxy, control_plane: ControlPlane, widgets: Widgets) -> Proxied:
    return Proxied(fault_proxy, control_plane, widgets.namespace)


def phase(event: dict[str, Any]) -> str:
    return str((event["object"].get("status") or {}).get("phase", ""))


async def take(events: AsyncIterator[dict[str, Any]], number: int, timeout: float = 20) -> list[dict[str, Any]]:
    async with asyncio.timeout(timeout):
        return [await anext(events) for _ in range(number)]


async def until_end(events: AsyncIterator[dict[str, Any]], timeout: float = 20) -> list[dict[str, Any]]:
    async with asyncio.timeout(timeout):
        return [event async for event in events]


def test_without_rules_everything_passes_with_the_operators_own_identity(
    proxied: Proxied, control_plane: ControlPlane, widgets: Widgets, ledger: RequestLedger
) -> None:
    user = control_plane.service_account(
        widgets.namespace, "op", rules=[{"apiGroups": ["example.com"], "resources": ["*"], "verbs": ["*"]}]
    )
    path = proxied.proxy.kubeconfig_for(control_plane.kubeconfig_for(widgets.namespace, "op"))
    from kubernetes import client, config

    with config.new_client_from_config(str(path)) as api:
        api.user_agent = AGENT
        objects = client.CustomObjectsApi(api)
        where = ("example.com", "v1", widgets.namespace, "widgets")
        body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": {"size": 3}}
        objects.create_namespaced_custom_object(*where, body)
        objects.patch_namespaced_custom_object_status(*where, "one", {"status": {"phase": "Ünïcode ☃"}})
        listed = objects.list_namespaced_custom_object(*where)["items"]
    assert [item["status"]["phase"] for item in listed] == ["Ünïcode ☃"]
    ledger.settle()
    assert {entry.user for entry in ledger.entries(user_agent=AGENT)} == {user}
    kinds = [(seen.verb, seen.resource, seen.subresource, seen.status) for seen in proxied.proxy.requests]
    assert kinds == [("create", "widgets", "", 201), ("patch", "widgets", "status", 200), ("list", "widgets", "", 200)]
    assert not any("Authorization" in seen.headers for seen in proxied.proxy.requests)


def test_a_proxys_kubeconfig_keeps_the_user_and_changes_only_the_server(
    fault_proxy: FaultProxy, control_plane: ControlPlane
) -> None:
    before = yaml.safe_load(control_plane.kubeconfig.read_text())
    after = yaml.safe_load(fault_proxy.kubeconfig_for(control_plane.kubeconfig).read_text())
    assert after["users"] == before["users"]
    assert after["clusters"][0]["cluster"]["server"] == fault_proxy.url != control_plane.url


def test_plain_http_is_served_where_asked(control_plane: ControlPlane) -> None:
    with FaultProxy(control_plane, https=False) as proxy:
        assert proxy.url.startswith("http://")
        config = yaml.safe_load(proxy.kubeconfig_for(control_plane.kubeconfig).read_text())
        assert config["clusters"][0]["cluster"] == {"server": proxy.url}


@pytest.mark.parametrize("code", [401, 403, 409, 410, 422, 429, 500, 503])
def test_a_status_code_is_answered_without_asking_the_server(proxied: Proxied, widgets: Widgets, code: int) -> None:
    widgets.create("one")
    rule = proxied.proxy.add(Rule(Status(code, retry_after=7), verb="patch", subresource="status", first=1))
    with pytest.raises(ApiError) as refused:
        proxied.status("one", phase="Pending")
    assert refused.value.status == refused.value.body["code"] == code
    assert refused.value.body["details"] == {"retryAfterSeconds": 7}
    assert "status" not in widgets.get("one")
    proxied.status("one", phase="Pending")
    assert rule.hits == 1
    assert proxied.proxy.requests[0].faults == ["Status"]
    assert proxied.proxy.requests[0].upstream_status is None


def test_reset_before_never_reaches_the_server_and_reset_after_always_does(
    proxied: Proxied, widgets: Widgets, ledger: RequestLedger
) -> None:
    widget = widgets.create("one")
    proxied.proxy.add(Rule(ResetBefore(), verb="patch", nth=1))
    proxied.proxy.add(Rule(ResetAfter(), verb="patch", nth=2))
    with pytest.raises(ConnectionResetError):
        proxied.status("one", phase="Lost")
    ledger.assert_requests(widget, {"patch": 0}, user_agent=AGENT)
    with pytest.raises(ConnectionResetError):
        proxied.status("one", phase="Committed")
    ledger.assert_requests(widget, {"patch": 1}, user_agent=AGENT)
    assert widgets.get("one")["status"] == {"phase": "Committed"}
    assert [seen.status for seen in proxied.proxy.requests] == [None, None]
    assert [seen.upstream_status for seen in proxied.proxy.requests] == [None, 200]


def test_rules_choose_by_object_and_count_for_each_object_by_itself(proxied: Proxied, widgets: Widgets) -> None:
    for name in ("one", "two"):
        widgets.create(name)
    second = proxied.proxy.add(Rule(Status(500), resource="widgets", verb="patch", nth=2, per_object=True))
    named = proxied.proxy.add(Rule(Status(503), name="two", every=3))
    codes: list[tuple[str, int]] = []
    for round_ in range(3):
        for name in ("one", "two"):
            try:
                proxied.status(name, round=round_)
                codes.append((name, 200))
            except ApiError as error:
                codes.append((name, error.status))
    assert codes == [("one", 200), ("two", 200), ("one", 500), ("two", 500), ("one", 200), ("two", 503)]
    assert (second.hits, named.hits) == (2, 1)
    assert [request.name for request in second.requests] == ["one", "two"]


def test_rules_compose_and_can_be_removed(proxied: Proxied, widgets: Widgets) -> None:
    widgets.create("one")
    slow = proxied.proxy.add(Rule(Delay(0.2), verb="get"))
    broken = proxied.proxy.add(Rule(Status(503), verb="get", user_agent="proxied"))
    begun = time.monotonic()
    with pytest.raises(ApiError, match="503"):
        proxied.request("GET", "/one")
    assert time.monotonic() - begun >= 0.2
    broken.remove()
    assert proxied.request("GET", "/one")["metadata"]["name"] == "one"
    assert (slow.hits, broken.hits) == (2, 1)
    proxied.proxy.clear()
    proxied.request("GET", "/one")
    assert slow.hits == 2
    with pytest.raises(AssertionError, match="applied 1 times"):
        broken.wait(2, timeout=0.01)


def test_a_rule_can_end_by_itself(proxied: Proxied, widgets: Widgets) -> None:
    widgets.create("one")
    rule = proxied.proxy.add(Rule(Status(503), seconds=1))
    with pytest.raises(ApiError):
        proxied.request("GET", "/one")
    deadline = time.monotonic() + 20
    while rule.active and time.monotonic() < deadline:
        time.sleep(0.01)
    proxied.request("GET", "/one")


def test_callbacks_see_the_request_before_it_is_forwarded_and_after_it_is_committed(
    proxied: Proxied, widgets: Widgets
) -> None:
    widgets.create("one")
    seen: list[tuple[str, object]] = []

    def before(request: ProxiedRequest) -> None:
        seen.append(("before", (widgets.get("one").get("status") or {}).get("phase")))

    def after(request: ProxiedRequest) -> None:
        seen.append(("after", widgets.get("one")["status"]["phase"]))

    proxied.proxy.add(Rule(Before(before), After(after), verb="patch"))
    proxied.status("one", phase="Pending")
    assert seen == [("before", None), ("after", "Pending")]
    proxied.proxy.add(Rule(After(after, drop=True), verb="patch"))
    with pytest.raises(ConnectionResetError):
        proxied.status("one", phase="Done")


def test_a_write_is_carried_out_even_if_its_sender_is_killed_meanwhile(
    proxied: Proxied, widgets: Widgets, control_plane: ControlPlane
) -> None:
    widgets.create("one")
    script = (
        "import sys; from pathlib import Path; from kubernaut_testing.rest import AdminClient;"
        "url, token, ca, path = sys.argv[1:];"
        "AdminClient(url, token, Path(ca)).request('PATCH', path, {'status': {'phase': 'Sent'}},"
        " content_type='application/merge-patch+json')"
    )
    arguments = [proxied.proxy.url, control_plane.admin_token, str(proxied.proxy.ca_file)]
    sender = subprocess.Popen([sys.executable, "-c", script, *arguments, f"{proxied.base}/one/status"])
    rule = proxied.proxy.add(Rule(After(lambda _: sender.kill(), drop=True), verb="patch"))
    rule.wait()
    assert sender.wait(30) == -9
    assert widgets.get("one")["status"] == {"phase": "Sent"}


def test_stale_lists_are_the_first_one_seen_or_one_of_a_named_version(proxied: Proxied, widgets: Widgets) -> None:
    first = widgets.create("one")
    rule = proxied.proxy.add(Rule(StaleList(), verb="list"))
    assert len(proxied.request("GET")["items"]) == 1
    widgets.create("two")
    assert len(proxied.request("GET")["items"]) == 1
    rule.remove()
    assert len(proxied.request("GET")["items"]) == 2
    proxied.proxy.add(Rule(StaleList(first["metadata"]["resourceVersion"]), verb="list"))
    stale = proxied.request("GET")
    assert [item["metadata"]["name"] for item in stale["items"]] == ["one"]
    assert stale["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_watch_passes_events_as_they_come(proxied: Proxied, widgets: Widgets) -> None:
    await asyncio.to_thread(widgets.create, "one")
    async with proxied.watch() as events:
        assert [event["type"] for event in await take(events, 1)] == ["ADDED"]
        for number in range(3):
            await asyncio.to_thread(widgets.status, "one", phase=f"P{number}")
            assert [phase(event) for event in await take(events, 1)] == [f"P{number}"]
    (request,) = proxied.proxy.requests
    assert (request.verb, request.status, request.is_resume) == ("watch", 200, False)


async def test_a_large_event_passes_whole(proxied: Proxied, widgets: Widgets) -> None:
    text = "x" * 900_000
    async with proxied.watch() as events:
        pending = asyncio.create_task(asyncio.to_thread(widgets.create, "large", target=text))
        (event,) = await take(events, 1)
        assert event["object"]["spec"]["target"] == text
        await pending


async def test_watches_are_dropped_when_due_in_order_or_by_reset(proxied: Proxied, widgets: Widgets) -> None:
    widgets.create("one")
    proxied.proxy.add(Rule(DropWatch(0.3), verb="watch", nth=1))
    proxied.proxy.add(Rule(DropWatch(0.3, reset=True), verb="watch", nth=2))
    begun = time.monotonic()
    async with proxied.watch() as events:
        assert len(await until_end(events)) == 1
    assert time.monotonic() - begun >= 0.3
    async with proxied.watch() as events:
        with pytest.raises(aiohttp.ClientError):
            await until_end(events)


async def test_a_black_hole_is_open_and_silent_until_the_rule_is_removed(proxied: Proxied, widgets: Widgets) -> None:
    widgets.create("one")
    rule = proxied.proxy.add(Rule(BlackHole(after_events=1), verb="watch"))
    async with proxied.watch() as events:
        await take(events, 1)
        await asyncio.to_thread(widgets.status, "one", phase="Unheard")
        following = asyncio.create_task(until_end(events))
        done, _ = await asyncio.wait({following}, timeout=0.5)
        assert not done
        rule.remove()
        assert await following == []


@pytest.mark.parametrize("code", [410, 500])
async def test_an_error_frame_comes_after_so_many_events_and_ends_the_watch(
    proxied: Proxied, widgets: Widgets, code: int
) -> None:
    for name in ("one", "two"):
        widgets.create(name)
    proxied.proxy.add(Rule(ErrorFrame(code, after_events=1), verb="watch", nth=1))
    proxied.proxy.add(Rule(ErrorFrame(code, after_seconds=1), verb="watch", nth=2))
    async with proxied.watch() as events:
        seen = await until_end(events)
    assert [event["type"] for event in seen] == ["ADDED", "ERROR"]
    assert (seen[1]["object"]["kind"], seen[1]["object"]["code"]) == ("Status", code)
    async with proxied.watch() as events:
        assert [event["type"] for event in await until_end(events)] == ["ADDED", "ADDED", "ERROR"]


async def test_only_a_resumed_watch_is_told_that_its_version_is_gone(proxied: Proxied, widgets: Widgets) -> None:
    version = widgets.create("one")["metadata"]["resourceVersion"]
    proxied.proxy.add(Rule(ErrorFrame(410), resume=True))
    async with proxied.watch() as events:
        assert [event["type"] for event in await take(events, 1)] == ["ADDED"]
    async with proxied.watch(resourceVersion=version) as events:
        assert [event["type"] for event in await until_end(events)] == ["ERROR"]


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Swallow(when=lambda event: phase(event) == "B"), ["", "A", "C", "D"]),
        (Duplicate(when=lambda event: phase(event) == "B"), ["", "A", "B", "B", "C", "D"]),
        (Replay(when=lambda event: phase(event) == "C"), ["", "A", "B", "C", "", "D"]),
        (Reorder(when=lambda event: phase(event) == "B"), ["", "A", "C", "B", "D"]),
        (Swallow(first=2), ["B", "C", "D"]),
    ],
    ids=["swallow", "duplicate", "replay", "reorder", "swallow the first two"],
)
async def test_single_events_are_lost_doubled_repeated_and_swapped(
    proxied: Proxied, widgets: Widgets, action: Any, expected: list[str]
) -> None:
    proxied.proxy.add(Rule(action, verb="watch"))
    async with proxied.watch() as events:
        await asyncio.to_thread(widgets.create, "one")
        for name in "ABCD":
            await asyncio.to_thread(widgets.status, "one", phase=name)
        assert [phase(event) for event in await take(events, len(expected))] == expected
    assert action.count >= 1


async def test_an_unreachable_server_is_seen_as_a_broken_connection(proxied: Proxied) -> None:
    with FaultProxy("https://127.0.0.1:9") as proxy, pytest.raises(ConnectionResetError):
        Proxied(proxy, proxied.control_plane, "x").request("GET")


def test_a_rule_needs_an_action() -> None:
    with pytest.raises(ValueError, match="without an action"):
        Rule(verb="get")
