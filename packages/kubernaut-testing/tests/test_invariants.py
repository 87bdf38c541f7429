"""The invariant checker on audit logs written by hand: what it must see, and what it must not."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubernaut_testing.invariants import Contract, assert_survived, check_effects, check_history
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.process import OperatorProcess
from kubernaut_testing.waiting import eventually

CONTRACT = Contract(transitions={"": {"Open"}, "Open": {"Done"}, "Done": set()}, writer="widgeter")


def write(
    code: int, request: dict[str, Any] | None, version: int = 0, phase: str = "Open", **status: Any
) -> dict[str, Any]:
    event = {
        "auditID": f"{code}-{version}",
        "stage": "ResponseComplete",
        "stageTimestamp": "2026-01-01T00:00:01Z",
        "requestReceivedTimestamp": "2026-01-01T00:00:00Z",
        "verb": "patch",
        "userAgent": "widgeter/1",
        "objectRef": {"resource": "widgets", "namespace": "ns", "name": "w", "subresource": "status"},
        "responseStatus": {"code": code},
    }
    if request is not None:
        event["requestObject"] = request
    if version:
        event["responseObject"] = {
            "metadata": {"uid": "u", "resourceVersion": str(version), "creationTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"phase": phase, **status},
        }
    return event


def violations(folder: Path, *events: dict[str, Any], contract: Contract = CONTRACT) -> list[str]:
    log = folder / "audit.log"
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    return [str(found) for found in check_history(RequestLedger(log), "widgets/ns/w", contract)]


CONDITIONAL = {"metadata": {"resourceVersion": "1"}, "status": {"phase": "Open"}}


def test_conditional_writes_are_no_violation(tmp_path: Path) -> None:
    assert violations(tmp_path, write(200, CONDITIONAL, 2), write(409, CONDITIONAL)) == []


@pytest.mark.parametrize("code", [200, 409])
def test_a_write_without_a_resource_version_is_a_violation(code: int, tmp_path: Path) -> None:
    (found,) = violations(tmp_path, write(code, {"status": {"phase": "Open"}}, 2 if code == 200 else 0))
    assert "I7: unconditional patch" in found


def test_a_write_that_was_refused_before_its_body_was_read_is_not_judged(tmp_path: Path) -> None:
    assert violations(tmp_path, write(403, None), write(200, CONDITIONAL, 2)) == []


def test_a_life_that_begins_with_a_status_is_a_violation(tmp_path: Path) -> None:
    created = write(201, None, 2)
    created |= {"verb": "create", "objectRef": {"resource": "widgets", "namespace": "ns", "name": "w"}}
    assert violations(tmp_path, created) == ["I7: uid u was created with a status: {'phase': 'Open'}"]


def test_an_illegal_edge_is_a_violation(tmp_path: Path) -> None:
    found = violations(tmp_path, write(200, CONDITIONAL, 2, "Done"), write(200, CONDITIONAL, 3, "Open"))
    assert found[0].startswith("I2: illegal edge 'Done' -> 'Open'")


ATTEMPTED = replace(CONTRACT, attempts=lambda status: status["attempts"], attempt_id=lambda attempt: attempt["number"])


def test_an_attempt_that_reads_otherwise_later_is_a_violation(tmp_path: Path) -> None:
    first, second = {"number": 1, "status": "failed"}, {"number": 2, "status": "success"}
    before = write(200, CONDITIONAL, 2, attempts=[first])
    assert violations(tmp_path, before, write(200, CONDITIONAL, 3, attempts=[first, second]), contract=ATTEMPTED) == []
    after = write(200, CONDITIONAL, 3, attempts=[{**first, "status": "success"}, second])
    assert violations(tmp_path, before, after, contract=ATTEMPTED) == [
        "I1: attempts rewritten at resourceVersion 3: [1]"
    ]


@pytest.mark.parametrize(("opened", "wrong"), [("2026-01-01T00:00:05Z", False), ("2026-01-01T01:00:00.5Z", True)])
def test_a_time_before_the_one_that_it_follows_is_a_violation(opened: str, wrong: bool, tmp_path: Path) -> None:
    timed = replace(CONTRACT, timelines=lambda status: [[status["opened"], status["closed"]]])
    version = write(200, CONDITIONAL, 2, opened=opened, closed="2026-01-01T00:00:05Z")
    found = violations(tmp_path, version, contract=timed)
    assert [text.partition(" from ")[0] for text in found] == ["I2: time goes backwards"] * wrong


TOLD = replace(CONTRACT, claims=lambda status: ["opened", "done"][: 1 + (status["phase"] == "Done")])


@pytest.mark.parametrize(
    ("effects", "lost", "problem"),
    [
        (["opened", "done"], (), ""),
        (["opened"], ["done"], ""),
        (["opened"], (), "done claims success and had no effect"),
        (["opened", "done", "done"], ["done"], "done took place 2 times"),
        (["opened", "done", "closed"], (), "closed belongs to no recorded attempt"),
    ],
)
def test_what_a_status_claims_to_have_been_told_is_told_once_or_lost(
    effects: list[str], lost: list[str], problem: str
) -> None:
    found = [str(violation) for violation in check_effects({"phase": "Done"}, effects, TOLD, lost=lost)]
    assert len(found) == bool(problem)
    assert problem in "".join(found)


def test_a_process_that_ended_restarted_or_grew_has_not_survived() -> None:
    with OperatorProcess([sys.executable, "-c", "import time; time.sleep(60)"], name="sleeper") as process:
        assert_survived(process)
        eventually(lambda: process.usage().rss > 1 << 20)  # it has hardly begun
        with pytest.raises(AssertionError, match=r"I8: sleeper holds [1-9]\d* MiB, allowed are -1"):
            assert_survived(process, megabytes=-1)
        with pytest.raises(AssertionError, match="I8: sleeper was started 1 times, not 2"):
            assert_survived(process, starts=2)
        process.kill()
        with pytest.raises(AssertionError, match="I8: sleeper ended with code -9"):
            assert_survived(process)
