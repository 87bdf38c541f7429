"""The ledger tells what was asked of a real API server."""

from __future__ import annotations

import json
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from kubernaut_testing import ControlPlane, RequestLedger
from kubernaut_testing.rest import AdminClient, ApiError

from .conftest import Widgets


def test_a_life_is_told_in_requests_phases_and_transitions(widgets: Widgets, ledger: RequestLedger) -> None:
    widget = widgets.create("one", size=1)
    widgets.status("one", phase="Pending")
    widgets.get("one")
    widgets.status("one", phase="Working", attempts=[1])
    widgets.status("one", phase="Working", attempts=[1, 2])
    last = widgets.status("one", phase="Done")
    ledger.settle()

    assert ledger.count(widget) == {"create": 1, "patch/status": 4, "get": 1}
    assert ledger.phases(widget) == ["", "Pending", "Working", "Done"]
    assert [(t.from_phase, t.to_phase, len(t.entries)) for t in ledger.per_transition(widget)] == [
        ("", "Pending", 2),
        ("Pending", "Working", 2),
        ("Working", "Done", 2),
    ]
    *_, entry = ledger.requests(widget)
    assert (entry.verb, entry.group, entry.resource, entry.subresource) == ("patch", "example.com", "widgets", "status")
    assert (entry.namespace, entry.name, entry.code) == (widgets.namespace, "one", 200)
    assert (entry.user, entry.user_agent) == ("kubernaut-testing-admin", "kubernaut-testing/admin")
    assert entry.resource_version == int(last["metadata"]["resourceVersion"])
    assert entry.request == {"status": {"phase": "Done"}}
    assert entry.time >= entry.received
    assert entry.time.utcoffset() is not None


def test_another_phase_field_can_be_named(widgets: Widgets, ledger: RequestLedger) -> None:
    widget = widgets.create("one")
    widgets.status("one", overallPhase="Blocked")
    ledger.settle()
    assert ledger.phases(widget, "overallPhase") == ["", "Blocked"]


def test_a_write_that_changes_nothing_is_a_request_but_no_version(widgets: Widgets, ledger: RequestLedger) -> None:
    widget = widgets.create("one")
    first = widgets.status("one", phase="Pending")
    again = widgets.status("one", phase="Pending")
    ledger.settle()
    assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]
    assert ledger.count(widget)["patch/status"] == 2
    assert len(ledger.history(widget)) == 2


def test_each_life_of_a_name_begins_anew(widgets: Widgets, ledger: RequestLedger) -> None:
    widgets.create("one")
    widgets.status("one", phase="Done")
    widgets.delete("one")
    widget = widgets.create("one")
    ledger.settle()
    assert ledger.phases(widget) == ["", "Done", ""]


def test_refused_requests_are_there_with_their_code(widgets: Widgets, ledger: RequestLedger) -> None:
    widget = widgets.create("one")
    with pytest.raises(ApiError):
        widgets.create("one")
    stale = {"metadata": {"resourceVersion": "1"}, "status": {"phase": "X"}}
    with pytest.raises(ApiError, match="409"):
        widgets.control_plane.api.patch(
            "example.com/v1", "Widget", widgets.namespace, "one", stale, subresource="status"
        )
    ledger.settle()
    assert [entry.verb for entry in ledger.entries(widget, code=409)] == ["create", "patch"]
    assert ledger.phases(widget) == [""]


def test_a_failing_assertion_prints_the_requests(widgets: Widgets, ledger: RequestLedger) -> None:
    widget = widgets.create("one")
    widgets.status("one", phase="Pending")
    ledger.assert_requests(widget, {"patch": 1, "patch/status": 1, "get": 0})
    with pytest.raises(AssertionError) as failure:
        ledger.assert_requests(widget, {"patch": 2, "get": 1})
    text = str(failure.value)
    assert "patch: expected 2, found 1" in text
    assert "get: expected 1, found 0" in text
    assert f"widgets/{widgets.namespace}/one" in text
    assert "{'phase': 'Pending'}" in text
    with pytest.raises(AssertionError, match="create: expected none, found 1"):
        ledger.assert_requests(widget, {"patch": 1}, only=True)


def test_programs_are_told_apart_by_user_agent_and_user(
    control_plane: ControlPlane, widgets: Widgets, ledger: RequestLedger
) -> None:
    widget = widgets.create("one")
    user = control_plane.service_account(
        widgets.namespace, "w", rules=[{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]
    )
    token = control_plane.token(widgets.namespace, "w")
    other = AdminClient(control_plane.url, token, control_plane.ca_file, user_agent="my-operator/1.2 (linux)")
    for _ in range(3):
        other.request("GET", f"/apis/example.com/v1/namespaces/{widgets.namespace}/widgets/one")
    ledger.assert_requests(widget, {"get": 3, "create": 0}, user_agent="my-operator")
    assert len(ledger.by_user_agent()["my-operator/1.2 (linux)"]) == 3
    assert {entry.user for entry in ledger.entries(user_agent="my-operator*")} == {user}
    assert len(ledger.entries(user=user, verb=["get", "list"], resource="widgets")) == 3


def test_a_watch_is_counted_once_and_already_while_it_runs(
    control_plane: ControlPlane, widgets: Widgets, ledger: RequestLedger
) -> None:
    client = AdminClient(control_plane.url, control_plane.admin_token, control_plane.ca_file, user_agent="watcher/1")
    path = f"/apis/example.com/v1/namespaces/{widgets.namespace}/widgets?watch=1&timeoutSeconds=3"
    watch = threading.Thread(target=client.request, args=("GET", path))
    watch.start()
    deadline = time.monotonic() + 10
    while not ledger.entries(verb="watch", user_agent="watcher") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert watch.is_alive()
    watch.join()
    ledger.settle()
    (entry,) = ledger.entries(user_agent="watcher")
    assert (entry.verb, entry.resource, entry.code) == ("watch", "widgets", 200)


def test_a_fresh_ledger_and_a_mark_see_only_what_follows(widgets: Widgets, ledger: RequestLedger) -> None:
    widget = widgets.create("one")
    mark = ledger.mark()
    widgets.get("one")
    fresh = ledger.fresh()
    widgets.status("one", phase="Pending")
    for view, since, expected in (
        (ledger, 0, {"create": 1, "get": 1, "patch/status": 1}),
        (ledger, mark, {"get": 1, "patch/status": 1}),
        (fresh, 0, {"patch/status": 1}),
    ):
        view.settle()
        assert view.count(widget, since=since) == expected


def test_bodies_of_secrets_config_maps_and_tokens_are_never_recorded(
    control_plane: ControlPlane, namespace: str
) -> None:
    secret = f"in-the-clear-{uuid.uuid4().hex}"  # other tests write secrets into objects whose bodies are recorded
    for kind in ("Secret", "ConfigMap"):
        control_plane.api.create(
            {
                "apiVersion": "v1",
                "kind": kind,
                "metadata": {"namespace": namespace, "name": "private"},
                "stringData" if kind == "Secret" else "data": {"password": secret},
            }
        )
    control_plane.service_account(namespace, "holder")
    token = control_plane.token(namespace, "holder")
    control_plane.ledger().settle()
    log = control_plane.audit_log.read_text()
    assert "/secrets" in log
    assert secret not in log
    assert token not in log


def test_events_about_an_object_are_found_by_name(
    control_plane: ControlPlane, widgets: Widgets, ledger: RequestLedger
) -> None:
    widget = widgets.create("one")
    widgets.create("one-more")
    for name in ("one", "one-more"):
        reference = {"kind": "Widget", "name": name, "namespace": widgets.namespace}
        control_plane.api.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"namespace": widgets.namespace, "name": f"{name}.17f0"},
                "involvedObject": reference,
                "reason": "Tried",
            }
        )
    ledger.settle()
    assert [entry.name for entry in ledger.events_about(widget)] == ["one.17f0"]


def test_a_line_that_is_still_being_written_is_left_for_the_next_read(tmp_path: Path) -> None:
    def line(name: str, stage: str = "ResponseComplete", verb: str = "get") -> str:
        event: dict[str, Any] = {
            "auditID": name,
            "stage": stage,
            "verb": verb,
            "requestURI": f"/api/v1/namespaces/{name}",
            "objectRef": {"resource": "namespaces", "name": name},
            "requestReceivedTimestamp": "2026-01-02T03:04:05.000001Z",
            "stageTimestamp": "2026-01-02T03:04:05.000002Z",
            "responseStatus": {"code": 200},
        }
        return json.dumps(event) + "\n"

    log = tmp_path / "audit.log"
    ledger = RequestLedger(log)
    assert ledger.entries() == []
    text = line("a") + line("b")
    log.write_text(text[:-20])
    assert [entry.name for entry in ledger.entries()] == ["a"]
    with log.open("a") as more:
        more.write(text[-20:] + line("w", "ResponseStarted", "watch") + line("w", "ResponseComplete", "watch"))
    assert [entry.name for entry in ledger.entries()] == ["a", "b", "w"]
    with pytest.raises(RuntimeError, match="cannot settle"):
        ledger.settle()


def audited(name: str, stage: str, uri: str = "/api/v1/namespaces/a", verb: str = "patch") -> str:
    times = dict.fromkeys(("requestReceivedTimestamp", "stageTimestamp"), "2026-01-02T03:04:05.000001Z")
    return json.dumps({"auditID": name, "stage": stage, "verb": verb, "requestURI": uri, **times}) + "\n"


def test_settling_waits_for_the_answers_to_all_that_came_in_before(tmp_path: Path) -> None:
    """A write can be seen by others before the log has its answer."""
    log = tmp_path / "audit.log"
    log.write_text(audited("write", "RequestReceived") + audited("watch", "RequestReceived", verb="watch"))

    def mark(name: str) -> None:
        with log.open("a") as more:
            for stage in ("RequestReceived", "ResponseComplete"):
                more.write(audited(name, stage, f"/version?marker={name}", "get"))

    ledger = RequestLedger(log, mark)
    with pytest.raises(TimeoutError, match="the answer to write is not in"):
        ledger.settle(timeout=0.1)

    def answer() -> None:
        with log.open("a") as more:
            more.write(audited("later", "RequestReceived") + audited("write", "ResponseComplete"))

    answering = threading.Timer(0.2, answer)
    answering.start()
    ledger.settle()
    assert [entry.verb for entry in ledger.entries()] == ["patch"]
    answering.join()
    with pytest.raises(TimeoutError, match="the answer to later is not in"):
        ledger.settle(timeout=0.1)
    ledger.server_ended()
    ledger.settle()


def test_what_can_be_seen_of_a_write_is_in_the_ledger(control_plane: ControlPlane, widgets: Widgets) -> None:
    for number in range(20):
        ledger = control_plane.ledger().fresh()
        if number == 0:
            widget = widgets.create("one")
        # Large, so that it takes its time from the storage to the log.
        status = {"number": number, "text": "x" * 200_000}
        writing = threading.Thread(target=widgets.status, args=("one",), kwargs=status)
        writing.start()
        while (widgets.get("one").get("status") or {}).get("number") != number:
            pass
        ledger.settle()
        assert ledger.count(widget)["patch/status"] == 1, number
        writing.join()


def test_an_object_must_be_named_in_full() -> None:
    with pytest.raises(ValueError, match="write plural/namespace/name"):
        RequestLedger(Path("none")).requests("widgets")
