"""Without Data Storage: one line per event, on standard output or in a file that may be rotated or full."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kubernaut_runtime.audit import Accounts, AuditLostError, Event, JsonLinesSink, LineFile
from kubernaut_runtime.audit.jsonlines import LineStream

MakeEvent = Callable[..., Event]


def read(path: Path) -> list[Any]:
    return [json.loads(line)["event_data"]["signal"] for line in path.read_text().split("\n")[:-1]]


def test_each_event_is_one_line(make_event: MakeEvent) -> None:
    stream = io.StringIO()
    sink = JsonLinesSink(LineStream(stream))
    sink.emit(make_event(signal="x\ny\u2028"))
    sink.emit(make_event(signal="\ud800"))
    sink.close()
    lines = stream.getvalue().split("\n")[:-1]
    assert [json.loads(line)["event_data"]["signal"] for line in lines] == ["x\ny\u2028", "\ufffd"]
    assert not stream.closed


def test_standard_output_is_the_default(make_event: MakeEvent, capsys: pytest.CaptureFixture[str]) -> None:
    JsonLinesSink().emit(make_event())
    assert json.loads(capsys.readouterr().out)["event_type"] == "signalprocessing.tested"


def test_a_file_is_appended_to_over_starts(tmp_path: Path, make_event: MakeEvent) -> None:
    path = tmp_path / "audit.jsonl"
    for number in range(2):
        sink = JsonLinesSink(LineFile(path))
        sink.emit(make_event(signal=str(number)))
        sink.close()
    assert read(path) == ["0", "1"]
    assert path.stat().st_mode & 0o007 == 0, "events are not for everybody"


@pytest.mark.parametrize("how", ["renamed", "deleted", "replaced"])
def test_a_file_that_is_rotated_away_is_made_anew(tmp_path: Path, make_event: MakeEvent, how: str) -> None:
    path, old = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    sink = JsonLinesSink(LineFile(path))
    sink.emit(make_event(signal="before"))
    if how == "deleted":
        path.unlink()
    else:
        path.rename(old)
    if how == "replaced":
        path.touch()
    sink.emit(make_event(signal="after"))
    sink.close()
    assert read(path) == ["after"]
    assert how == "deleted" or read(old) == ["before"]


def test_a_full_disk_drops_and_counts_and_later_lines_are_whole(
    tmp_path: Path, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, registry = tmp_path / "audit.jsonl", CollectorRegistry()
    accounts = Accounts("sample", registry)
    sink = JsonLinesSink(LineFile(path), accounts)
    write, room = os.write, [10]

    def nearly_full(descriptor: int, data: bytes) -> int:
        taken = min(room[0], len(data))
        if not taken:
            raise OSError(28, "No space left on device")
        room[0] -= taken
        return write(descriptor, data[:taken])

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", nearly_full)
        sink.emit(make_event(signal="cut short"))
        sink.emit(make_event(signal="not at all"))
    sink.emit(make_event(signal="whole"))
    sink.close()
    whole = [line for line in path.read_text().split("\n")[:-1] if line.endswith("}")]
    assert [json.loads(line)["event_data"]["signal"] for line in whole] == ["whole"]
    assert registry.get_sample_value("audit_events_dropped_total", {"service": "sample"}) == 2
    assert registry.get_sample_value("audit_events_total", {"service": "sample", "result": "written"}) == 1
    assert [record.__dict__["reason"] for record in caplog.records] == ["No space left on device"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_device_that_is_always_full_never_raises(make_event: MakeEvent) -> None:
    accounts = Accounts("sample")
    sink = JsonLinesSink(LineFile(Path("/dev/full")), accounts)
    for _ in range(3):
        sink.emit(make_event())
    assert accounts.dropped == 3


def test_a_closed_stream_and_an_invalid_event_never_raise(make_event: MakeEvent) -> None:
    stream, accounts = io.StringIO(), Accounts("sample")
    sink = JsonLinesSink(LineStream(stream), accounts)
    sink.emit({"a": object()})
    sink.emit(None)  # type: ignore[arg-type]
    stream.close()
    sink.emit(make_event())
    assert accounts.dropped == 3


def test_losses_are_told_once_a_minute_and_the_rest_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    accounts = Accounts("sample", monotonic=lambda: now[0])
    for _ in range(1000):
        accounts.lost("full", event_type="a.b", detail="full")
    assert [record.__dict__["events"] for record in caplog.records] == [{"full": 1}]
    now[0] += 60
    accounts.lost("full", saved=True)
    assert caplog.records[1].__dict__["events"] == {"full": 1000}
    assert (caplog.records[1].__dict__["dropped"], caplog.records[1].__dict__["kept_in_file"]) == (999, 1)
    accounts.lost("rejected")
    with pytest.raises(AuditLostError, match="1001 audit events are lost"):
        accounts.settle()
    assert caplog.records[2].__dict__["events"] == {"rejected": 1}
    Accounts("other").settle()
