from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.message import Message, enrich, flat_metadata, prepare

MakeNR = Callable[..., NotificationRequest]


@pytest.mark.parametrize(
    ("workflow", "body"),
    [
        ({"workflowId": "w-1", "workflowName": "Restart pod"}, "run Restart pod then Restart pod"),
        ({"selectedWorkflow": "w-1", "workflowName": "Restart pod"}, "run Restart pod then Restart pod"),
        ({"workflowId": "w-1", "selectedWorkflow": "x", "workflowName": "R"}, "run R then R"),
        ({"workflowId": "w-1"}, "run w-1 then w-1"),
        ({"workflowName": "R"}, "run w-1 then w-1"),
        ({}, "run w-1 then w-1"),
    ],
)
@pytest.mark.behaviour(78)
def test_a_workflow_id_becomes_its_name_where_both_are_known(
    make_nr: MakeNR, workflow: dict[str, str], body: str
) -> None:
    assert enrich(make_nr(body="run w-1 then w-1", context={"workflow": workflow})) == body


@pytest.mark.behaviour(76)
def test_subject_body_context_extensions_and_links_are_redacted(make_nr: MakeNR) -> None:
    """Beyond subject and body, what the Go controller sends as it is."""
    nr = make_nr(
        subject="password: s1",
        body="token: s2",
        context={
            "analysis": {"rootCause": "secret: s3"},
            "target": {"targetResource": "Pod/a", "newer": "api_key: s4"},
        },
        extensions={"note": "pwd=s5"},
        actionLinks=[{"service": "g", "url": "https://u:s6@10.0.0.1/", "label": "token=s7"}],
        metadata={"annotations": {"a": "password=s8"}},
    )
    text = str(prepare(nr).to_wire())
    assert not [f"s{number}" for number in range(1, 9) if f"s{number}" in text]
    assert "10.0.0.1" in text


@pytest.mark.behaviour(76)
def test_the_stored_object_is_not_changed(make_nr: MakeNR) -> None:
    nr = make_nr(body="password: s1", context={"analysis": {"rootCause": "secret: s3"}}, extensions={"a": "pwd=x"})
    before = nr.to_wire()
    prepare(nr)
    assert nr.to_wire() == before


def test_copies_of_the_unredacted_spec_in_the_metadata_are_dropped(make_nr: MakeNR) -> None:
    nr = make_nr(
        metadata={
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"spec":{}}', "keep": "this"},
            "managedFields": [{"manager": "kubectl"}],
        }
    )
    metadata = prepare(nr).to_wire()["metadata"]
    assert metadata["annotations"] == {"keep": "this"}
    assert "managedFields" not in metadata


def test_extensions_win_over_the_context_in_what_channels_show(make_nr: MakeNR) -> None:
    nr = make_nr(context={"analysis": {"outcome": "a", "rootCause": "r"}}, extensions={"outcome": "b"})
    assert flat_metadata(nr) == {"outcome": "b", "rootCause": "r"}


def test_the_idempotency_key_is_that_of_the_attempt(make_nr: MakeNR, now: datetime) -> None:
    assert Message(make_nr(), "slack:a", 2, now).idempotency_key == "u-1/slack:a/2"
