"""Operators as processes: started, ready, measured, ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from kubernaut_testing import OperatorProcess, WebhookReceiver, eventually
from kubernaut_testing.children import Children
from kubernaut_testing.process import children_of, runs, usage_of


def python(code: str, **options: object) -> OperatorProcess:
    return OperatorProcess([sys.executable, "-c", code], **options)  # type: ignore[arg-type]


def test_a_process_is_ready_when_its_url_answers(tmp_path: Path) -> None:
    with WebhookReceiver() as probe:
        probe.script(503, 503, 200)
        with python("import time; time.sleep(60)", ready=f"{probe.url}/readyz") as process:
            assert process.running
    assert len(probe.to("/readyz")) == 3
    assert not process.running


def test_a_process_that_ends_before_it_is_ready_is_shown_with_its_log() -> None:
    process = python("raise SystemExit('cannot read config.yaml')", ready="http://127.0.0.1:9/")
    with pytest.raises(AssertionError, match=r"ended with code 1; (.|\n)*cannot read config\.yaml"), process:
        pass


def test_a_process_that_never_becomes_ready_is_shown_with_its_log() -> None:
    process = python("import time; print('still loading'); time.sleep(60)", ready=lambda: never(), ready_timeout=0.5)

    def never() -> bool:
        eventually(lambda: "still loading" in process.log.read_text())
        return False

    with pytest.raises(AssertionError, match=r"readiness of(.|\n)*still loading"):
        process.start()
    process.close()


def test_restarts_append_to_one_log_and_json_lines_are_decoded(tmp_path: Path) -> None:
    # A line separator within a text ends no record.
    code = "import time; print('{\"msg\": \"hello\u2028you\"}'); print('{cut'); time.sleep(60)"
    log = tmp_path / "operator.log"
    with python(code, log=log) as process:
        eventually(lambda: len(process.records()) == 1)
        first = process.pid
        process.restart()
        eventually(lambda: len(process.records()) == 2)
        assert process.pid != first
        assert process.starts == 2
        with pytest.raises(RuntimeError, match="is running"):
            process.start()
        assert process.terminate() == -signal.SIGTERM
        assert process.returncode == -signal.SIGTERM
    assert log.read_text().count("hello") == 2


def test_an_exported_kubeconfig_is_not_inherited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBECONFIG", "/somebody/elses")
    log = tmp_path / "log"
    for env, expected in (({}, "None"), ({"KUBECONFIG": "/mine"}, "/mine")):
        log.unlink(missing_ok=True)
        with python("import os; print(os.environ.get('KUBECONFIG'))", env=env, log=log) as process:
            assert process.wait_exit() == 0
        assert log.read_text().strip() == expected


def test_cpu_and_memory_are_measured() -> None:
    with python("x = bytearray(64 << 20)\nwhile True: pass") as process:
        eventually(lambda: process.usage().user > 0.1)
        assert process.usage().rss > 64 << 20
        process.kill()
        with pytest.raises((ProcessLookupError, RuntimeError)):
            usage_of(process.pid)
    assert usage_of(os.getpid()).rss > 0


def test_the_children_of_a_process_are_those_it_started_and_that_run() -> None:
    script = "sleep 300 & sh -c 'sleep 300; true' & true & echo {} && wait"
    with OperatorProcess(["sh", "-c", script]) as process:
        eventually(lambda: len(process.records()) == 1)
        eventually(lambda: len(children_of(process.pid)) == 2)  # grandchildren and what has ended do not count
        assert all(runs(child) for child in children_of(process.pid))
        pid = process.pid
    assert children_of(pid) == set()


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace() -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('{\"on\": 1}'); time.sleep(60)"
    with python(code) as process:
        eventually(process.records)
        begun = time.monotonic()
        assert process.terminate(grace=0.3) == -signal.SIGKILL
        assert time.monotonic() - begun < 20, "the default is 30 s"


def test_what_a_process_leaves_behind_ends_with_the_folder() -> None:
    """A child may be killed before it could take its own children along."""
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    with Children("orphans") as children:
        child = children.spawn("parent", [sys.executable, "-c", code])
        orphan = int(eventually(child.log.read_text))
        child.kill()
        assert runs(orphan)
    eventually(lambda: not runs(orphan))
