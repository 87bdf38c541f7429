"""The crash-point sweep and the invariants find nothing in a right operator, and the bug in a wrong one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kubernaut_testing import (
    Contract,
    ControlPlane,
    CrashSweep,
    FaultProxy,
    OperatorProcess,
    RequestLedger,
    WebhookReceiver,
    assert_invariants,
    assert_quiet,
    eventually,
)
from kubernaut_testing.crash import REFERENCE, CrashPoint
from kubernaut_testing.faultsweep import Fault, FaultPoint, FaultSweep
from kubernaut_testing.histories import assert_same_history, history_of
from kubernaut_testing.proxy import Before, ResetBefore
from kubernaut_testing.writes import Writes

from .conftest import Widgets

CONTRACT = Contract(
    transitions={"": {"Pending"}, "Pending": {"Working"}, "Working": {"Done"}, "Done": ()},
    writer="tiny-operator",
    attempts=lambda status: status.get("attempts") or [],
    attempt_id=lambda attempt: attempt["number"],
    counters=lambda status: {"succeeded": len(status.get("attempts") or [])},
)


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as running:
        yield running


@pytest.fixture
def operator_on(
    control_plane: ControlPlane, fault_proxy: FaultProxy, widgets: Widgets, receiver: WebhookReceiver
) -> Callable[..., object]:
    rules = [
        {"apiGroups": ["example.com"], "resources": ["widgets", "widgets/status"], "verbs": ["list", "patch"]},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create"]},
    ]
    control_plane.service_account(widgets.namespace, "tiny", rules=rules)
    # Discovery is asked for as any authenticated user.
    path = fault_proxy.kubeconfig_for(control_plane.kubeconfig_for(widgets.namespace, "tiny"))

    @contextmanager
    def start(*flags: str) -> Iterator[OperatorProcess]:
        script = Path(__file__).with_name("tiny_operator.py")
        with OperatorProcess([sys.executable, script, path, widgets.namespace, receiver.url, *flags]) as process:
            yield process

    return start


def phase(widgets: Widgets, name: str) -> str:
    return str((widgets.get(name).get("status") or {}).get("phase", ""))


def effects(receiver: WebhookReceiver, name: str) -> list[str]:
    ids = [str(request.json["id"]) for request in receiver.requests]
    return [identity.partition("#")[2] for identity in ids if identity.startswith(f"{name}#")]


def test_a_right_operator_survives_a_kill_on_both_sides_of_every_write(
    operator_on: Callable[..., Iterator[OperatorProcess]],
    fault_proxy: FaultProxy,
    widgets: Widgets,
    receiver: WebhookReceiver,
    ledger: RequestLedger,
) -> None:
    checked = []

    def check(name: str) -> None:
        checked.append(name)
        seen = effects(receiver, name)
        unknown = ["1"] if name == CrashPoint(3, "before").name else []
        obj = f"widgets/{widgets.namespace}/{name}"
        assert_invariants(ledger, obj, CONTRACT, effects=seen, unknown=unknown)

    with operator_on() as operator:
        outcomes = CrashSweep(fault_proxy, operator, resource="widgets", timeout=60).run(
            create=widgets.create, converged=lambda name: phase(widgets, name) == "Done", check=check
        )
        assert operator.running
        assert operator.starts == 1 + len(outcomes)
        read = lambda: widgets.control_plane.api.list("example.com/v1", "Widget", widgets.namespace)  # noqa: E731
        assert_quiet(read, seconds=0.5)
    assert [(one.point.index, one.point.side) for one in outcomes] == [
        (index, side) for index in (1, 2, 3, 4) for side in ("before", "after")
    ]
    # Killed between the effect and its record, it is made again: under the same identity.
    assert effects(receiver, CrashPoint(3, "before").name) == ["1", "1"]
    # The undisturbed one, those that were killed, and the two that no kill reached.
    points = [CrashPoint(index, side).name for index in (1, 2, 3, 4, 5) for side in ("before", "after")]
    assert checked == [REFERENCE, *points]


def children(widgets: Widgets, name: str) -> list[str]:
    made = widgets.control_plane.api.list("v1", "ConfigMap", widgets.namespace)
    owned = [one["metadata"] for one in made if one["metadata"].get("ownerReferences")]
    return [meta["name"] for meta in owned if meta["ownerReferences"][0]["name"] == name]


PARENT = Contract(transitions=CONTRACT.transitions, writer=CONTRACT.writer, attempts=CONTRACT.attempts)
"""The effect of a parent is its child, so it has no counter."""


def sweep_of_a_parent(
    fault_proxy: FaultProxy, operator: OperatorProcess, widgets: Widgets, ledger: RequestLedger
) -> list[tuple[int, str]]:
    """What a service with children writes to sweep its crash points; the child's creation is one of them."""
    contract = replace(PARENT, attempt_id=lambda attempt: attempt["number"])

    def check(name: str) -> None:
        obj = f"widgets/{widgets.namespace}/{name}"
        seen = children(widgets, name)
        assert_invariants(ledger, obj, contract, effects=seen)
        reference = history_of(ledger, f"widgets/{widgets.namespace}/{REFERENCE}", contract)
        assert history_of(ledger, obj, contract).phases == reference.phases

    outcomes = CrashSweep(fault_proxy, operator, writes=Writes("widgets", children=["configmaps"]), timeout=60).run(
        create=widgets.create, converged=lambda name: phase(widgets, name) == "Done", check=check
    )
    return [(one.point.index, one.point.side) for one in outcomes]


def test_a_kill_between_a_child_s_creation_and_the_status_write_is_a_point_of_its_own(
    operator_on: Callable[..., Iterator[OperatorProcess]],
    fault_proxy: FaultProxy,
    widgets: Widgets,
    ledger: RequestLedger,
) -> None:
    """Fault 3: the child's name is derived, so it is found again; Pending, Working, the child, its record, Done."""
    with operator_on("--parent") as operator:
        points = sweep_of_a_parent(fault_proxy, operator, widgets, ledger)
    # Killed after the child's creation, it asks for it again: the life is one write longer.
    assert points == [(index, side) for index in (1, 2, 3, 4, 5) for side in ("before", "after")]


def test_a_child_that_is_made_twice_is_found_out(
    operator_on: Callable[..., Iterator[OperatorProcess]],
    fault_proxy: FaultProxy,
    widgets: Widgets,
    ledger: RequestLedger,
) -> None:
    with (
        operator_on("--parent", "--careless") as operator,
        pytest.raises(
            AssertionError, match=r"before write 3: (.|\n)*I3: effect crash-\S+ belongs to no recorded attempt"
        ),
    ):
        sweep_of_a_parent(fault_proxy, operator, widgets, ledger)


def test_of_two_replicas_the_one_that_works_is_killed_and_the_other_goes_on(
    operator_on: Callable[..., Iterator[OperatorProcess]],
    fault_proxy: FaultProxy,
    widgets: Widgets,
    receiver: WebhookReceiver,
    ledger: RequestLedger,
) -> None:
    """One replica works, the other stands by: it is paused from before an object's creation until the kill."""
    with operator_on() as first, operator_on() as second:
        pair = [first, second]

        def create(name: str) -> None:
            pair[1].pause()
            widgets.create(name)

        def leader() -> OperatorProcess:
            working = pair[0]
            pair.reverse()
            pair[0].resume()
            return working

        def converged(name: str) -> bool:
            return phase(widgets, name) == "Done"

        sweep = CrashSweep(fault_proxy, first, resource="widgets", leader=leader, sides=("after",), timeout=60)
        outcomes = sweep.run(create, converged)
        assert [one.point.index for one in outcomes] == [1, 2, 3, 4]
        assert (first.starts, second.starts) == (3, 3)
        assert first.running
        assert second.running


def test_each_fault_meets_an_object_of_its_own_at_each_write(
    operator_on: Callable[..., Iterator[OperatorProcess]],
    fault_proxy: FaultProxy,
    widgets: Widgets,
    receiver: WebhookReceiver,
    ledger: RequestLedger,
) -> None:
    def check(point: FaultPoint) -> None:
        obj, reference = (f"widgets/{widgets.namespace}/{name}" for name in (point.name, REFERENCE))
        if point.fault == "deleted":
            assert ledger.phases(obj)[-1] == ["", "Pending", "Working", "Working"][point.index - 1]
            return
        assert_same_history(history_of(ledger, reference, CONTRACT), history_of(ledger, obj, CONTRACT))
        assert_invariants(ledger, obj, CONTRACT)

    deleted = Fault("deleted", lambda: Before(lambda r: widgets.delete(r.name)), ended=lambda name: True)
    with operator_on() as operator:
        points = FaultSweep(fault_proxy, Writes("widgets"), timeout=60).run(
            [Fault("reset", ResetBefore), deleted],
            create=widgets.create,
            converged=lambda name: phase(widgets, name) == "Done",
            check=check,
        )
        assert operator.starts == 1
    assert [(one.fault, one.index) for one in points] == [(f, k) for f in ("reset", "deleted") for k in (1, 2, 3, 4)]


def test_a_fault_that_is_never_met_fails_the_sweep(
    operator_on: Callable[..., Iterator[OperatorProcess]], fault_proxy: FaultProxy, widgets: Widgets
) -> None:
    with operator_on(), pytest.raises(AssertionError, match="unmet at write 1: the rule was applied 0 times"):
        FaultSweep(fault_proxy, Writes("widgets"), timeout=8).run(
            [Fault("unmet", ResetBefore)],
            create=lambda name: widgets.create("another" if name.startswith("unmet-1") else name),
            converged=lambda name: phase(widgets, name) == "Done",
        )


def test_an_operator_that_forgets_what_it_sent_is_found_out(
    operator_on: Callable[..., Iterator[OperatorProcess]],
    fault_proxy: FaultProxy,
    widgets: Widgets,
    receiver: WebhookReceiver,
    ledger: RequestLedger,
) -> None:
    def check(name: str) -> None:
        assert_invariants(ledger, f"widgets/{widgets.namespace}/{name}", CONTRACT, effects=effects(receiver, name))

    sweep_of = CrashSweep
    with (
        operator_on("--forgetful") as operator,
        pytest.raises(AssertionError, match=r"before write 3: (.|\n)*I3: effect \w+ belongs to no recorded attempt"),
    ):
        sweep_of(fault_proxy, operator, resource="widgets", timeout=60).run(
            create=widgets.create, converged=lambda name: phase(widgets, name) == "Done", check=check
        )


def test_a_sweep_without_any_write_fails_instead_of_passing(
    operator_on: Callable[..., Iterator[OperatorProcess]], fault_proxy: FaultProxy, widgets: Widgets
) -> None:
    with operator_on() as operator, pytest.raises(AssertionError, match="no write to gadgets came through the proxy"):
        CrashSweep(fault_proxy, operator, resource="gadgets", timeout=60).run(
            create=widgets.create, converged=lambda name: phase(widgets, name) == "Done"
        )


def test_each_broken_invariant_is_named(widgets: Widgets, ledger: RequestLedger) -> None:
    contract = Contract(
        transitions=CONTRACT.transitions,
        writer="kubernaut-testing/admin",
        attempts=CONTRACT.attempts,
        attempt_id=CONTRACT.attempt_id,
        attempt_time=lambda attempt: attempt.get("time", "9999"),
        counters=CONTRACT.counters,
    )
    widget = widgets.create("one")
    one = {"number": 1, "status": "success", "time": "2001-01-01T00:00:00Z"}
    widgets.status("one", phase="Working", attempts=[one, one], succeeded=1)
    widgets.status("one", phase="Working", note="nothing durable")
    widgets.status("one", phase="Working")
    widgets.status("one", phase="Done", attempts=[])
    with pytest.raises(AssertionError) as failure:
        assert_invariants(ledger, widget, contract, effects=[7], unknown=[])
    text = str(failure.value)
    for expected in (
        "I2: illegal edge '' -> 'Working'",
        "I1: attempts recorded twice",
        "I1: attempts lost",
        "made no durable change",
        "changed nothing (still",
        "I4: succeeded is 1, the arrays say 2",
        "I7: attempt 1 is older than its object",
        "I7: unconditional patch",
        "I3: effect 7 belongs to no recorded attempt",
    ):
        assert expected in text


def test_an_attempt_that_claims_success_without_effect_and_one_with_two_are_named(
    widgets: Widgets, ledger: RequestLedger
) -> None:
    widget = widgets.create("one")
    widgets.status("one", phase="Pending", attempts=[{"number": n, "status": "success"} for n in (1, 2)], succeeded=2)
    with pytest.raises(AssertionError, match="I3: attempt 1 claims success and had no effect"):
        assert_invariants(ledger, widget, CONTRACT, effects=[2])
    with pytest.raises(AssertionError, match="I3: effect of attempt 2 took place 2 times"):
        assert_invariants(ledger, widget, CONTRACT, effects=[1, 2, 2])
    assert_invariants(ledger, widget, CONTRACT, effects=[1, 2, 2], unknown=[2])


def test_an_object_that_the_ledger_does_not_know_is_no_proof(ledger: RequestLedger, namespace: str) -> None:
    with pytest.raises(AssertionError, match="knows no version"):
        assert_invariants(ledger, f"widgets/{namespace}/none", CONTRACT)


def test_writes_at_rest_are_found(widgets: Widgets) -> None:
    widgets.create("one")
    count = iter(range(100))

    def read() -> list[dict[str, object]]:
        widgets.status("one", number=next(count))
        return [widgets.get("one")]

    with pytest.raises(AssertionError, match="should have stayed the same"):
        assert_quiet(read, seconds=1)


def test_an_operator_that_is_paused_stands_still_and_goes_on(
    operator_on: Callable[..., Iterator[OperatorProcess]], widgets: Widgets
) -> None:
    with operator_on() as operator:
        operator.pause()
        widgets.create("one")
        assert operator.running
        assert phase(widgets, "one") == ""
        operator.resume()
        eventually(lambda: phase(widgets, "one") == "Done")
