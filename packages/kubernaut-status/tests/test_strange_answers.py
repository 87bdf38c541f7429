"""What is no answer of the API server, or names no object, is never taken for a stored or a gone object."""

import copy
import logging
from typing import Any

import pytest
import yaml
from widget_shop import EXAMPLES, WIDGETS, Faults, Shop, set_status

from kubernaut_status import (
    ForbiddenError,
    ObjectKey,
    Outcome,
    OutcomeUnknownError,
    Request,
    Resource,
    Response,
    StatusClient,
    StatusError,
    StatusManager,
    fetch,
    write_status,
)

LOGIN_PAGE = Response(200, {"message": "<html>please log in</html>"})
REDIRECT = Response(302, {})


async def no_wait(seconds: float) -> None:
    """The waits of a busy server, without waiting."""


class Intercepted:
    """The way to the server with something on it that answers the first `times` requests of `verb` itself."""

    def __init__(self, client: StatusClient, answer: Response, *, verb: str = "patch", times: int = 1) -> None:
        self.client, self.answer, self.verb, self.times = client, answer, verb, times

    async def send(self, request: Request) -> Response:
        """Send, or intercept."""
        if request.verb == self.verb and self.times > 0:
            self.times -= 1
            return self.answer
        return await self.client.send(request)


@pytest.mark.parametrize("answer", [LOGIN_PAGE, REDIRECT, Response(200, {})])
async def test_a_success_that_a_proxy_invents_is_not_taken_for_a_stored_status(shop: Shop, answer: Response) -> None:
    widget = shop.create("w")
    manager = shop.manager(client=Intercepted(shop.client, answer), sleep=no_wait)
    commit = await manager.atomic_status_update(widget, set_status(phase="Pending"))
    assert commit.outcome is Outcome.WRITTEN
    assert commit.object == shop.get("w")
    assert shop.get("w")["status"] == {"phase": "Pending"}


async def test_a_proxy_that_stays_in_the_way_leaves_the_outcome_unknown(shop: Shop) -> None:
    widget = shop.create("w")
    manager = shop.manager(client=Intercepted(shop.client, LOGIN_PAGE, times=1000), sleep=no_wait)
    with pytest.raises(OutcomeUnknownError, match="without an object; is there a proxy"):
        await manager.atomic_status_update(widget, set_status(phase="Pending"))


async def test_a_page_in_place_of_the_object_does_not_mean_that_it_is_gone(shop: Shop) -> None:
    widget = shop.create("w")
    shop.foreign_status("w", coats=1)
    manager = shop.manager(client=Intercepted(shop.client, LOGIN_PAGE, verb="get"), sleep=no_wait)
    commit = await manager.atomic_status_update(widget, set_status(phase="Pending"))
    assert commit.outcome is Outcome.WRITTEN


@pytest.mark.parametrize("answer", [LOGIN_PAGE, REDIRECT])
async def test_code_with_a_loop_of_its_own_is_told_of_such_answers(shop: Shop, answer: Response) -> None:
    widget = shop.create("w")
    expected = "302" if answer is REDIRECT else "without an object"
    with pytest.raises(StatusError, match=expected):
        await fetch(Intercepted(shop.client, answer, verb="get"), WIDGETS, ObjectKey.of(widget))
    with pytest.raises(StatusError, match=expected):
        await write_status(Intercepted(shop.client, answer), WIDGETS, widget, {"coats": 1})


async def test_a_lost_write_whose_object_may_not_be_read_is_unknown_and_not_merely_forbidden(
    shop: Shop, faults: Faults
) -> None:
    widget = shop.create("w")
    faults.reset_after_commit(times=1)
    forbidden = Response(403, {"message": "no get"})
    manager = shop.manager(client=Intercepted(faults.client, forbidden, verb="get"), identities={})
    with pytest.raises(OutcomeUnknownError, match="cannot be read") as caught:
        await manager.atomic_status_update(widget, set_status(coats=1))
    assert isinstance(caught.value.__cause__, ForbiddenError)
    assert shop.get("w")["status"] == {"coats": 1}


@pytest.mark.parametrize("field", ["name", "namespace", "uid", "resourceVersion"])
async def test_half_an_object_is_refused_before_anything_is_sent(shop: Shop, field: str) -> None:
    half = copy.deepcopy(shop.create("w"))
    del half["metadata"][field]
    with pytest.raises(ValueError, match=f"metadata.{field} is missing; pass the whole object"):
        await shop.manager().atomic_status_update(half, set_status(phase="Pending"))
    assert shop.requests("w") == []


@pytest.mark.parametrize("version", ["", "0", None])
async def test_a_direct_write_without_a_condition_is_refused(shop: Shop, version: str | None) -> None:
    widget = copy.deepcopy(shop.create("w"))
    widget["metadata"]["resourceVersion"] = version
    with pytest.raises(ValueError, match=r"cannot write .* under a condition"):
        await write_status(shop.client, WIDGETS, widget, {"coats": 1})
    assert shop.requests("w") == []


async def test_a_resource_that_the_server_does_not_have_is_told_once(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    widget = shop.create("w")
    typo = StatusManager(shop.client, Resource("paint.example.com", "v1", "widgetz", "Widget"))
    for _ in range(2):
        assert (await typo.atomic_status_update(widget, set_status(phase="Pending"))).outcome is Outcome.GONE
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "compare group, version and plural with its CRD" in warnings[0]


async def test_a_crd_without_the_status_subresource_is_told(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    crd: dict[str, Any] = yaml.safe_load((EXAMPLES / "widgets.yaml").read_text())
    crd["metadata"]["name"] = "plains.plain.example.com"
    crd["spec"]["group"] = "plain.example.com"
    crd["spec"]["names"] = {"kind": "Plain", "listKind": "PlainList", "plural": "plains", "singular": "plain"}
    del crd["spec"]["versions"][0]["subresources"]
    shop.control_plane.apply(crd)
    metadata = {"namespace": shop.namespace, "name": "p"}
    plain = shop.control_plane.api.create({"apiVersion": "plain.example.com/v1", "kind": "Plain", "metadata": metadata})
    manager = StatusManager(shop.client, Resource("plain.example.com", "v1", "plains", "Plain"))
    await manager.atomic_status_update(plain, set_status(phase="Pending"))
    assert "subresources: {status: {}}" in caplog.text


async def test_an_object_that_goes_later_is_told_to_nobody(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    manager = shop.manager()
    commit = await manager.atomic_status_update(shop.create("w"), set_status(phase="Pending"))
    shop.delete("w")
    commit = await manager.atomic_status_update(commit.object, set_status(phase="Painting"))
    assert commit.outcome is Outcome.GONE
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
