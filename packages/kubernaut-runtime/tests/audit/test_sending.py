"""The sink against Data Storage's API over real HTTP: batches, answers, refusals, tokens, and what is never told."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kubernaut_runtime.audit import Event, LineFile
from kubernaut_runtime.backoff import Backoff
from kubernaut_testing.datastorage import BATCH_PATH, DataStorage
from kubernaut_testing.receivers import Answer
from kubernaut_testing.waiting import eventually_async

MakeEvent = Callable[..., Event]
MakeSink = Callable[..., Awaitable[Any]]


def ids(storage: DataStorage) -> list[str]:
    return [event["correlation_id"] for event in storage.events()]


async def test_events_go_out_in_batches_in_order(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent
) -> None:
    site = await make_sink(batch_size=10, flush_interval=30)
    for number in range(25):
        site.sink.emit(make_event(str(number)))
    await eventually_async(lambda: len(storage.events()) == 20)
    assert [len(request.json) for request in storage.batches] == [10, 10]
    assert len(site.sink) == 5, "they wait for company, or for the interval"
    await site.sink.close()
    assert ids(storage) == [str(number) for number in range(25)]
    assert not storage.refusals
    assert site.results() == {"stored": 25}
    assert site.value("audit_requests_total", code="201") == 3
    assert site.value("audit_events_buffered") == 0


async def test_a_lone_event_goes_out_after_the_interval(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent
) -> None:
    site = await make_sink(batch_size=100, flush_interval=0.2)
    began = time.monotonic()
    site.sink.emit(make_event())
    await eventually_async(lambda: len(storage.events()) == 1)
    assert storage.batches[0].monotonic - began >= 0.19


async def test_no_batch_is_larger_than_data_storage_takes(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent
) -> None:
    site = await make_sink(buffer_size=5000, batch_size=1000)
    for _ in range(1200):
        site.sink.emit(make_event())
    for _ in range(40):
        site.sink.emit(make_event(body="b" * 250_000))
    await eventually_async(lambda: len(storage.events()) == 1240)
    assert not storage.refusals, "neither more than 500 events nor more than 5 MiB"
    assert max(len(request.json) for request in storage.batches) == 500


async def test_202_is_an_acceptance_and_is_not_sent_again(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent
) -> None:
    storage.script(storage.deferred)
    site = await make_sink()
    site.sink.emit(make_event("first"))
    await eventually_async(lambda: site.results() == {"deferred": 1})
    site.sink.emit(make_event("second"))
    await eventually_async(lambda: ids(storage) == ["first", "second"])
    assert len(storage.batches) == 2


@pytest.mark.parametrize("answer", [403, 408, 429, 500, 502, 503, 404, 301, Answer(drop=True)], ids=str)
async def test_what_is_not_taken_is_sent_again_the_same(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent, answer: Any
) -> None:
    storage.script(answer, answer, path=BATCH_PATH)
    site = await make_sink(batch_size=3, max_retries=5)
    for number in range(3):
        site.sink.emit(make_event(str(number)))
    await eventually_async(lambda: site.results() == {"stored": 3})
    assert len(storage.batches) == 3, "one layer of retries"
    assert len({request.body for request in storage.batches}) == 1
    assert ids(storage) == ["0", "1", "2"]


@pytest.mark.behaviour(100, "W14", service="signalprocessing")
async def test_more_failures_than_max_retries_drop_nothing(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    storage.script(*[503] * 8, path=BATCH_PATH)
    site = await make_sink(max_retries=2)
    with caplog.at_level(logging.INFO):
        site.sink.emit(make_event())
        await eventually_async(lambda: site.results() == {"stored": 1})
    told = [(record.levelname, record.__dict__.get("failures")) for record in caplog.records]
    assert told == [("WARNING", 1), ("ERROR", 3), ("INFO", None)], "the first, the outage, and its end"


async def test_a_lost_answer_after_the_commit_stores_twice_and_both_are_equal(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent
) -> None:
    storage.script(storage.lost(), path=BATCH_PATH)
    site = await make_sink()
    site.sink.emit(make_event())
    first, second = await eventually_async(lambda: len(storage.events()) == 2 and storage.events())
    assert first == second


async def test_retry_after_is_waited_for(storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent) -> None:
    storage.script(Answer(429, retry_after=1), path=BATCH_PATH)
    site = await make_sink()
    site.sink.emit(make_event())
    await eventually_async(lambda: site.results() == {"stored": 1})
    assert storage.gaps(BATCH_PATH)[0] >= 0.99


@pytest.mark.behaviour("W14", service="signalprocessing")
async def test_of_a_refused_batch_only_the_bad_events_are_dropped(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    storage.bad = lambda event: (
        f"body says {event['event_data']['body']}" if event["correlation_id"] in ("7", "42", "43") else ""
    )
    site = await make_sink(batch_size=100)
    for number in range(100):
        site.sink.emit(make_event(str(number), body="a private text"))
    await eventually_async(lambda: site.results() == {"stored": 97, "rejected": 3})
    assert ids(storage) == [str(number) for number in range(100) if number not in (7, 42, 43)]
    assert site.value("audit_events_dropped_total") == 3
    assert len(storage.batches) < 50
    told = caplog.records[0].__dict__
    assert (told["event_type"], told["reason"]) == ("signalprocessing.tested", "400 Refused: event 0: body says [...]")


@pytest.mark.parametrize("quoted", [str, lambda body: body[:150], json.dumps, lambda body: f"{body[:90]}..."])
async def test_a_reason_shows_nothing_of_the_payload_however_it_quotes_it(
    storage: DataStorage,
    make_sink: MakeSink,
    make_event: MakeEvent,
    caplog: pytest.LogCaptureFixture,
    quoted: Callable[[str], str],
) -> None:
    """Reasons are cut before they are told, so a long text, or one of several lines, is never quoted in whole."""
    body = 'line with "private words"\n' + "".join(f"private{number} " for number in range(100))
    storage.bad = lambda event: f"body is bad: {quoted(event['event_data']['body'])}"
    site = await make_sink()
    site.sink.emit(make_event(body=body))
    await eventually_async(lambda: site.results() == {"rejected": 1})
    reason = caplog.records[0].__dict__["reason"]
    assert reason.startswith("400 Refused: event 0: body is bad: ")
    assert "private" not in reason


async def test_an_unexpected_error_while_sending_is_told_without_its_text_and_nothing_is_lost(
    storage: DataStorage,
    make_sink: MakeSink,
    make_event: MakeEvent,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site = await make_sink()
    send, failures = site.client.send, [RuntimeError]

    async def broken(body: bytes) -> Any:
        if failures:
            raise failures.pop()(body)
        return await send(body)

    monkeypatch.setattr(site.client, "send", broken)
    site.sink.emit(make_event(body="private words"))
    await eventually_async(lambda: site.results() == {"stored": 1})
    (told,) = [record for record in caplog.records if "unexpectedly" in record.getMessage()]
    assert told.__dict__["error"] == "RuntimeError"
    assert "private words" not in caplog.text + str([record.__dict__ for record in caplog.records])


async def test_events_that_are_refused_go_to_the_file_if_there_is_one(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent, tmp_path: Path
) -> None:
    storage.bad = lambda event: "no" if event["correlation_id"] == "bad" else ""
    path = tmp_path / "audit.jsonl"
    site = await make_sink(spare=LineFile(path))
    for name in ("good", "bad", "good"):
        site.sink.emit(make_event(name))
    await eventually_async(lambda: site.results() == {"stored": 2, "rejected": 1, "written": 1})
    assert json.loads(path.read_text())["correlation_id"] == "bad"
    assert site.value("audit_events_dropped_total") == 0


async def test_an_event_that_always_ends_in_500_holds_up_nobody(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent
) -> None:
    poison = True

    def answer(request: Any) -> Answer:
        if poison and request.path == BATCH_PATH and any(e["correlation_id"] == "poison" for e in request.json):
            return Answer(500)
        return storage._answer(request)

    storage.default = answer
    site = await make_sink(batch_size=8, max_retries=1)
    for name in ("a", "b", "poison", *"cdefg"):
        site.sink.emit(make_event(name))
    await eventually_async(lambda: sorted(ids(storage)) == [*"abcdefg"] and len(site.sink) == 1)
    poison = False
    await eventually_async(lambda: ids(storage)[-1] == "poison")


async def test_an_invalid_event_is_never_sent(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    site = await make_sink()
    site.sink.emit({**make_event(), "correlation_id": ""})
    site.sink.emit(None)
    site.sink.emit(make_event())
    await eventually_async(lambda: site.results() == {"stored": 1, "invalid": 2})
    assert not storage.refusals
    assert caplog.records[0].__dict__["reason"] == "correlation_id is missing"


async def test_the_token_is_read_again_after_a_401_and_is_never_told(
    storage: DataStorage,
    make_sink: MakeSink,
    make_event: MakeEvent,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    token = tmp_path / "token"
    token.write_text("first-secret\n")
    storage.token = "first-secret"
    with caplog.at_level(logging.DEBUG):
        site = await make_sink(token=token)
        site.sink.emit(make_event("before"))
        await eventually_async(lambda: ids(storage) == ["before"])
        storage.token = "second-secret"
        site.sink.emit(make_event("after"))
        await eventually_async(lambda: len(storage.refusals) >= 1)
        fresh = tmp_path / "fresh"
        fresh.write_text("second-secret\n")
        fresh.replace(token)
        await eventually_async(lambda: ids(storage) == ["before", "after"])
    assert {refusal.code for refusal in storage.refusals} == {401}
    assert "secret" not in " ".join(str(record.__dict__) for record in caplog.records)


async def test_without_a_token_file_nothing_is_sent_as_a_token_and_it_is_told_once(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = await make_sink(token=tmp_path / "none")
    for _ in range(2):
        site.sink.emit(make_event())
        await eventually_async(lambda: not len(site.sink))
    assert "Authorization" not in storage.batches[0].headers
    assert len([r for r in caplog.records if "without a ServiceAccount token" in r.getMessage()]) == 1


async def test_a_redirect_is_not_followed_with_the_token(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    storage.script(Answer(307, headers={"Location": storage.url + "/elsewhere"}), path=BATCH_PATH)
    site = await make_sink(token=token)
    site.sink.emit(make_event())
    await eventually_async(lambda: len(storage.events()) == 1)
    assert not storage.to("/elsewhere")


async def test_while_data_storage_is_down_emitting_is_quick_memory_is_bounded_and_the_oldest_stay(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent, caplog: pytest.LogCaptureFixture
) -> None:
    storage.stop()
    site = await make_sink(buffer_size=10_000)
    one = make_event()
    began = time.perf_counter()
    for number in range(20_000):
        one["correlation_id"] = str(number)
        site.sink.emit(one)
    took = time.perf_counter() - began
    assert took < 5, "0.25 ms for each at most"
    assert (len(site.sink), site.value("audit_events_buffered")) == (10_000, 10_000)
    assert site.results() == {"full": 10_000}
    assert site.value("audit_events_dropped_total") == 10_000
    assert len([record for record in caplog.records if "cannot deliver" in record.getMessage()]) == 1
    storage.start()
    await eventually_async(lambda: len(storage.events()) == 10_000, timeout=30)
    assert ids(storage) == [str(number) for number in range(10_000)]


async def test_large_events_fill_the_buffer_by_their_size(make_sink: MakeSink, make_event: MakeEvent) -> None:
    site = await make_sink(url="http://127.0.0.1:1", retry=Backoff(60, 60))
    for _ in range(400):
        site.sink.emit(make_event(body="b" * 250_000))
    assert 200 < len(site.sink) < 400
    assert site.results() == {"full": 400 - len(site.sink)}


async def test_events_may_come_from_any_thread(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent
) -> None:
    site = await make_sink(batch_size=50)

    def work() -> None:
        for _ in range(500):
            site.sink.emit(make_event())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    await eventually_async(lambda: site.results() == {"stored": 2000})
    for thread in threads:
        thread.join()


# The end ---------------------------------------------------------------------------------------------------------


async def test_the_end_sends_what_waits(storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent) -> None:
    site = await make_sink(flush_interval=60)
    for number in range(950):
        site.sink.emit(make_event(str(number)))
    await site.sink.close()
    site.accounts.settle()
    assert ids(storage) == [str(number) for number in range(950)]


async def test_the_end_waits_for_the_batch_under_way_and_sends_it_once(
    storage: DataStorage, make_sink: MakeSink, make_event: MakeEvent
) -> None:
    def slow(request: Any) -> Answer:
        answer = storage._answer(request)
        return Answer(answer.status, answer.body, delay=0.5)

    storage.script(slow, path=BATCH_PATH)
    site = await make_sink()
    site.sink.emit(make_event())
    await eventually_async(lambda: len(storage.batches) == 1)
    await site.sink.close()
    assert len(storage.batches) == 1
    assert site.results() == {"stored": 1}


@pytest.mark.parametrize("spare", [False, True])
async def test_the_end_is_bounded_when_data_storage_does_not_answer(
    make_sink: MakeSink, make_event: MakeEvent, tmp_path: Path, spare: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        path = tmp_path / "audit.jsonl"
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        site = await make_sink(url=url, spare=LineFile(path) if spare else None)
        for number in range(3):
            site.sink.emit(make_event(str(number)))
        began = time.monotonic()
        await site.sink.close(within=0.3)
        assert time.monotonic() - began < 5
    assert site.accounts.dropped == (0 if spare else 3)
    assert caplog.records[-1].__dict__["events"] == {"unsent": 3}
    if spare:
        written = [json.loads(line)["correlation_id"] for line in path.read_text().splitlines()]
        assert written == ["0", "1", "2"]
    site.sink.emit(make_event("late"))
    assert site.results()["unsent"] == 4, "an event after the end is counted too"


async def test_an_end_that_is_cut_off_still_counts_what_is_left(make_sink: MakeSink, make_event: MakeEvent) -> None:
    site = await make_sink(url="http://127.0.0.1:1", retry=Backoff(60, 60))
    site.sink.emit(make_event())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await site.sink.close(within=30)
    assert site.results() == {"unsent": 1}
