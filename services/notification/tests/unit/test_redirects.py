"""Redirects of HTTP channels: which are followed, with what, and what is told of the others."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from scenarios.channel_bench import Bench, shown

from kubernaut_api import NotificationRequest
from kubernaut_notification.delivery.channel import DeliveryError, PermanentError, RetryableError
from kubernaut_testing.receivers import Answer, WebhookReceiver

MakeNR = Callable[..., NotificationRequest]
HOOK = "/services/S3CRETPATH"
KEPT, LOST = (307, 308), (301, 302, 303)


@pytest.fixture
def elsewhere() -> Iterator[WebhookReceiver]:
    with WebhookReceiver(https=True) as running:
        yield running


@pytest.fixture
async def bench(tmp_path: Path, elsewhere: WebhookReceiver) -> AsyncIterator[Bench]:
    """Channels that trust the certificate of `elsewhere`."""
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=elsewhere.ca_file))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Bench(tmp_path, session)


def use(bench: Bench, url: str, configs: str = "webhookConfigs", **entry: Any) -> str:
    """Route everything to one channel with this URL; returns its key."""
    bench.put("url", url)
    bench.put("proof", "pr00f-0f-us")
    named = {"slackConfigs": {"credentialRef": "url"}, "webhookConfigs": {"urlRef": "url"}}.get(configs, {"url": url})
    bench.route(**{configs: [named | entry]})
    return f"{configs.removesuffix('Configs')}:ops"


def to(status: int, location: str | None) -> Answer:
    return Answer(status, "moved", headers={} if location is None else {"Location": location})


def assert_hidden(error: DeliveryError | None) -> None:
    assert error is not None
    assert not [part for part in ("S3CRETPATH", "L0CATION", "pr00f") if part in shown(error)]


@pytest.mark.parametrize("status", LOST)
@pytest.mark.parametrize("configs", ["slackConfigs", "webhookConfigs"])
async def test_a_redirect_that_drops_the_message_is_a_permanent_error_whatever_the_page_behind_it_answers(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR, status: int, configs: str
) -> None:
    receiver.script(to(status, "/L0CATION"), path=HOOK)
    error = await bench.attempt(use(bench, receiver.url + HOOK, configs), make_nr())
    assert isinstance(error, PermanentError)
    assert f"webhook returned {status} (permanent failure): it redirects to a page and drops the" in error.text
    assert error.text.endswith("; correct the URL")
    assert_hidden(error)
    assert [request.path for request in receiver.requests] == [HOOK], "nothing else was asked for"


@pytest.mark.parametrize("status", KEPT)
@pytest.mark.parametrize("absolute", [False, True])
async def test_a_redirect_on_the_same_server_is_followed_with_message_and_proof(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR, status: int, absolute: bool
) -> None:
    receiver.script(to(status, (receiver.url if absolute else "") + "/v2?x=1"), path=HOOK)
    assert await bench.attempt(use(bench, receiver.url + HOOK, credentialRef="proof"), make_nr()) is None
    first, second = receiver.requests
    assert (second.method, second.path, second.body) == ("POST", "/v2", first.body)
    for name in ("Authorization", "Idempotency-Key", "Content-Type"):
        assert second.headers[name] == first.headers[name]


async def test_the_answer_behind_a_redirect_counts(bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR) -> None:
    receiver.script(to(307, "/v2"), path=HOOK)
    receiver.script(Answer(503, retry_after=7), path="/v2")
    error = await bench.attempt(use(bench, receiver.url + HOOK), make_nr())
    assert isinstance(error, RetryableError)
    assert error.retry_after == 7


async def test_a_user_in_the_url_goes_along_on_the_same_server(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR
) -> None:
    receiver.script(to(307, receiver.url.replace("//", "//L0CATION:x@") + "/v2"), path=HOOK)
    url = receiver.url.replace("//", "//me:p%C3%A4ss@") + HOOK
    assert await bench.attempt(use(bench, url), make_nr()) is None
    expected = "Basic " + base64.b64encode("me:päss".encode()).decode()
    assert [request.headers["Authorization"] for request in receiver.requests] == [expected, expected]


async def test_another_server_is_followed_to_over_https_if_nothing_proves_who_we_are(
    bench: Bench, receiver: WebhookReceiver, elsewhere: WebhookReceiver, make_nr: MakeNR
) -> None:
    receiver.script(to(308, elsewhere.url.replace("//", "//L0CATION:x@") + "/v2"), path=HOOK)
    assert await bench.attempt(use(bench, receiver.url + HOOK, "slackConfigs"), make_nr()) is None
    (request,) = elsewhere.requests
    assert (request.method, request.path, request.body) == ("POST", "/v2", receiver.requests[0].body)
    assert "Authorization" not in request.headers, "nor what the redirect says of a user"


@pytest.mark.parametrize(
    ("configs", "user", "entry"),
    [
        ("webhookConfigs", "", {"credentialRef": "proof"}),
        ("webhookConfigs", "", {"credentialRef": "proof", "httpConfig": {"basicAuth": {"username": "me"}}}),
        ("webhookConfigs", "me:pr00f@", {}),
        ("pagerdutyConfigs", "", {"credentialRef": "proof"}),
    ],
    ids=["token", "password", "user in the URL", "routing key in the body"],
)
async def test_no_other_server_gets_a_credential(
    bench: Bench,
    receiver: WebhookReceiver,
    elsewhere: WebhookReceiver,
    make_nr: MakeNR,
    configs: str,
    user: str,
    entry: dict[str, Any],
) -> None:
    receiver.script(to(307, elsewhere.url + "/L0CATION"), path=HOOK)
    key = use(bench, receiver.url.replace("//", f"//{user}") + HOOK, configs, **entry)
    error = await bench.attempt(key, make_nr())
    assert isinstance(error, PermanentError)
    assert "another server, which must not see the credential; correct the URL" in error.text
    assert_hidden(error)
    assert elsewhere.requests == []


@pytest.mark.parametrize("location", [None, "", "{other}/L0CATION", "ftp://h/L0CATION", "http://[L0CATION", "https://"])
async def test_nothing_is_sent_to_clear_text_elsewhere_or_to_what_is_no_address(
    bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR, location: str | None
) -> None:
    with WebhookReceiver() as other:
        receiver.script(to(307, location and location.replace("{other}", other.url)), path=HOOK)
        error = await bench.attempt(use(bench, receiver.url + HOOK), make_nr())
        assert other.requests == []
    assert isinstance(error, PermanentError)
    assert error.text == (
        "webhook returned 307 (permanent failure): it redirects to where a message must not go; correct the URL"
    )
    assert_hidden(error)


async def test_https_is_never_left(
    bench: Bench, receiver: WebhookReceiver, elsewhere: WebhookReceiver, make_nr: MakeNR
) -> None:
    elsewhere.script(to(307, receiver.url + "/L0CATION"), path=HOOK)
    error = await bench.attempt(use(bench, elsewhere.url + HOOK), make_nr())
    assert isinstance(error, PermanentError)
    assert receiver.requests == []


async def test_redirects_are_bounded(bench: Bench, receiver: WebhookReceiver, make_nr: MakeNR) -> None:
    receiver.default = to(307, "/L0CATION")
    error = await bench.attempt(use(bench, receiver.url + HOOK), make_nr())
    assert isinstance(error, RetryableError)
    assert (error.text, error.outcome_unknown) == ("webhook request failed: too many redirects", False)
    assert len(receiver.requests) == 6


async def test_all_redirects_together_have_the_time_of_one_call(
    tmp_path: Path, receiver: WebhookReceiver, make_nr: MakeNR
) -> None:
    receiver.default = Answer(307, delay=0.4, headers={"Location": "/again"})
    async with aiohttp.ClientSession() as session:
        bench = Bench(tmp_path, session, slack={"timeout": "1s"})
        error = await bench.attempt(use(bench, receiver.url + HOOK), make_nr())
    assert isinstance(error, RetryableError)
    assert "no answer within 1 s" in error.text
