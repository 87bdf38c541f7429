"""The receiver answers by script and remembers what came, when it came."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request

import pytest

from kubernaut_testing import Answer, WebhookReceiver
from kubernaut_testing.receivers import Received


def post(url: str, body: object = None, context: ssl.SSLContext | None = None) -> tuple[int, str]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json", "X-Key": "k1"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Retry-After", "")


def test_answers_follow_the_script_and_then_the_default() -> None:
    with WebhookReceiver() as receiver:
        receiver.script(Answer(429, retry_after=7), 500, Answer(body="invalid_payload"))
        answers = [post(receiver.url) for _ in range(4)]
    assert answers == [(429, "7"), (500, ""), (200, "invalid_payload"), (200, "ok")]


def test_what_arrived_is_remembered_with_headers_body_and_time() -> None:
    with WebhookReceiver() as receiver:
        before = time.monotonic()
        post(f"{receiver.url}/slack?x=1", {"text": "Ünïcode ☃"})
        post(f"{receiver.url}/slack", {"text": "two"})
        (first, _) = receiver.wait_for(2)
        assert (first.method, first.path, first.headers["X-Key"]) == ("POST", "/slack", "k1")
        assert first.json == {"text": "Ünïcode ☃"}
        assert before <= first.monotonic <= time.monotonic()
        assert first.time.utcoffset() is not None
        (gap,) = receiver.gaps("/slack")
        assert 0 < gap < time.monotonic() - before
        receiver.clear()
        assert receiver.requests == []
        with pytest.raises(AssertionError, match="0 requests came within"):
            receiver.wait_for(1, timeout=0.01)


def test_scripts_can_be_bound_to_a_path_and_be_functions() -> None:
    def by_text(request: Received) -> int:
        return 400 if request.json == "bad" else 202

    with WebhookReceiver(default=by_text) as receiver:
        receiver.script(503, path="/slow")
        assert post(f"{receiver.url}/other", "good")[0] == 202
        assert post(f"{receiver.url}/other", "bad")[0] == 400
        assert post(f"{receiver.url}/slow", "good")[0] == 503
        assert post(f"{receiver.url}/slow", "good")[0] == 202
        assert [request.answer.status for request in receiver.to("/slow")] == [503, 202]


def test_a_dropped_request_is_remembered_though_its_sender_gets_no_answer() -> None:
    with WebhookReceiver(default=Answer(drop=True, delay=0.05)) as receiver:
        with pytest.raises((ConnectionResetError, urllib.error.URLError)):
            post(receiver.url, "lost?")
        assert [request.json for request in receiver.requests] == ["lost?"]


def test_a_receiver_can_go_away_and_come_back_at_its_address() -> None:
    with WebhookReceiver() as receiver:
        post(receiver.url, 1)
        receiver.stop()
        with pytest.raises(urllib.error.URLError, match="refused"):
            post(receiver.url, 2)
        receiver.start()
        post(receiver.url, 3)
        assert [request.json for request in receiver.requests] == [1, 3]


def test_a_receiver_whose_port_is_taken_says_so_each_time_and_listens_once_it_is_free() -> None:
    with WebhookReceiver() as first:
        port = int(first.url.rpartition(":")[2])
        second = WebhookReceiver(201, port=port)
        for _ in range(2):
            with pytest.raises(OSError, match="address already in use"):
                second.start()
    with second:
        assert post(second.url)[0] == 201


def test_an_https_receiver_is_refused_until_its_authority_is_trusted() -> None:
    with WebhookReceiver(https=True) as receiver:
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            post(receiver.url)
        assert post(receiver.url, context=ssl.create_default_context(cafile=str(receiver.ca_file)))[0] == 200
