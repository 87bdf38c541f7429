"""The sink in a whole process: chosen by the config, a readiness gate, a CA that changes, and the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kubernaut_runtime.app import Operator, Process
from kubernaut_runtime.audit import AuditSink, Event, EventSource, open_sink, wiring
from kubernaut_runtime.config import LoadedConfig
from kubernaut_runtime.flags import Arguments, StartError
from kubernaut_runtime.runtime import Runtime
from kubernaut_runtime.sections import ControllerConfig
from kubernaut_status import Resource
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.datastorage import DataStorage
from kubernaut_testing.files import replace_file
from kubernaut_testing.pki import Authority
from kubernaut_testing.waiting import eventually_async

CONFIG_MAPS = Resource(group="", version="v1", plural="configmaps", kind="ConfigMap")
SOURCE = EventSource(
    "sample", "signalprocessing", "sample-controller", {"signalprocessing.tested": ("phase", "signal")}
)
MakeEvent = Callable[..., Event]


class House:
    """Starts processes that do nothing but emit what a test gives to `sink`."""

    def __init__(self, control_plane: ControlPlane, namespace: str, folder: Path) -> None:
        self.control_plane, self.account = control_plane, folder / "account"
        self.account.mkdir()
        self.sink: AuditSink
        self.process: Process[ControllerConfig]

    async def _setup(self, runtime: Runtime[ControllerConfig]) -> None:
        runtime.add_kind(CONFIG_MAPS)
        self.sink = await open_sink(runtime, SOURCE, account=self.account)

    def make(self, **sections: Any) -> Process[ControllerConfig]:
        addresses = {"metricsAddr": "127.0.0.1:0", "healthProbeAddr": "127.0.0.1:0"}
        config = ControllerConfig.model_validate({"controller": addresses, **sections})
        arguments = Arguments(None, self.control_plane.kubeconfig, None, False)
        operator = Operator(name="sample", version="1", config=ControllerConfig, setup=self._setup)
        self.process = Process(operator, arguments, LoadedConfig(config, Path("none"), (), ""))
        return self.process

    @asynccontextmanager
    async def running(self, **sections: Any) -> AsyncIterator[asyncio.Task[int]]:
        process = self.make(**sections)
        task = asyncio.create_task(process.run())
        try:
            await eventually_async(lambda: task.done() or "started ok" in self.readyz()[1], timeout=20)
            yield task
        finally:
            process.stop()
            await asyncio.gather(task, return_exceptions=True)

    def readyz(self) -> tuple[bool, str]:
        probes = getattr(self.process, "probes", None)
        return probes.readiness.report("readyz") if probes else (False, "")

    async def end(self, task: asyncio.Task[int]) -> int:
        self.process.stop()
        return await asyncio.wait_for(task, 60)

    def dropped(self) -> float | None:
        registry = self.process.runtime.registry
        return registry.get_sample_value("audit_events_dropped_total", {"service": "sample"})


@pytest.fixture
def house(control_plane: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setenv("KUBERNAUT_CONTROLLER_NAMESPACE", namespace)
    monkeypatch.delenv("TLS_CA_FILE", raising=False)
    return House(control_plane, namespace, tmp_path)


async def test_without_a_url_events_are_lines_on_stdout_and_readiness_asks_nobody(
    house: House, make_event: MakeEvent, capsys: pytest.CaptureFixture[str]
) -> None:
    async with house.running() as task:
        await eventually_async(lambda: house.readyz()[0])
        assert "datastorage" not in house.readyz()[1]
        house.sink.emit(make_event("rr-7"))
        assert await house.end(task) == 0
    assert json.loads(capsys.readouterr().out)["correlation_id"] == "rr-7"


async def test_audit_file_takes_the_lines_instead(house: House, make_event: MakeEvent, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    async with house.running(audit={"file": str(path)}) as task:
        house.sink.emit(make_event("rr-7"))
        assert await house.end(task) == 0
    assert json.loads(path.read_text())["correlation_id"] == "rr-7"


@pytest.mark.behaviour(14, service="signalprocessing")
async def test_an_audit_file_that_cannot_be_written_ends_the_start(house: House, tmp_path: Path) -> None:
    process = house.make(audit={"file": str(tmp_path / "none" / "audit.jsonl")})
    with pytest.raises(StartError, match=r"cannot write audit.file .*: No such file or directory; create its folder"):
        await process.run()


@pytest.mark.behaviour(106, "W14", service="signalprocessing")
@pytest.mark.behaviour(85, service="notification")
async def test_readiness_waits_for_data_storage_and_work_does_not(
    house: House, storage: DataStorage, make_event: MakeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubernaut_runtime.audit.gate.EVERY_SECONDS", 0.1)
    (house.account / "token").write_text("secret")
    storage.token = "secret"
    storage.ready = False
    async with house.running(datastorage=storage.config) as task:
        server = storage.url.removeprefix("http://")
        expected = f"[-]datastorage: Data Storage at {server} is not ready: "
        await eventually_async(lambda: expected + "it answers 503" in house.readyz()[1])
        assert not house.readyz()[0]
        house.sink.emit(make_event("meanwhile"))
        await eventually_async(lambda: storage.events(correlation_id="meanwhile"))
        storage.ready = True
        await eventually_async(lambda: house.readyz()[0])
        assert "[+]datastorage ok" in house.readyz()[1]
        storage.stop()
        await eventually_async(lambda: expected + "cannot connect" in house.readyz()[1])
        storage.start()
        house.sink.emit(make_event("last"))
        assert await house.end(task) == 0
    assert storage.events(correlation_id="last"), "sent at the end"
    assert house.dropped() == 0


@pytest.mark.behaviour("W14", service="signalprocessing")
@pytest.mark.parametrize("spare", [False, True])
async def test_events_that_cannot_be_sent_at_the_end_are_exit_code_1_unless_a_file_has_them(
    house: House,
    storage: DataStorage,
    make_event: MakeEvent,
    tmp_path: Path,
    spare: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wiring, "FLUSH_SECONDS", 0.3)
    path = tmp_path / "audit.jsonl"
    storage.stop()
    async with house.running(datastorage=storage.config, audit={"file": str(path) if spare else ""}) as task:
        house.sink.emit(make_event("rr-7"))
        assert await house.end(task) == (0 if spare else 1)
    assert house.dropped() == (0 if spare else 1)
    assert not spare or json.loads(path.read_text())["correlation_id"] == "rr-7"


async def test_the_ca_file_may_change_while_the_process_runs(
    house: House, make_event: MakeEvent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca_file = tmp_path / "ca.crt"
    monkeypatch.setenv("TLS_CA_FILE", str(ca_file))
    with DataStorage(https=True) as storage:
        assert storage.ca_file is not None
        replace_file(ca_file, storage.ca_file.read_bytes())
        async with house.running(datastorage=storage.config, tlsProfile="Modern") as task:
            house.sink.emit(make_event("before"))
            await eventually_async(lambda: storage.events(correlation_id="before"))
            new = storage.rotate_certificate()
            house.sink.emit(make_event("after"))
            await eventually_async(
                lambda: house.process.runtime.registry.get_sample_value(
                    "audit_requests_total", {"service": "sample", "code": "none"}
                )
            )
            assert not storage.events(correlation_id="after"), "the new authority is not trusted yet"
            replace_file(ca_file, new.read_bytes())
            await eventually_async(lambda: storage.events(correlation_id="after"), timeout=15)
            replace_file(ca_file, "-----BEGIN CERTIFICATE-----\nnonsense")
            await eventually_async(
                lambda: house.process.runtime.registry.get_sample_value(
                    "config_reload_total", {"file": str(ca_file), "result": "failed"}
                )
            )
            house.sink.emit(make_event("still"))
            await eventually_async(lambda: storage.events(correlation_id="still"))
            assert await house.end(task) == 0


async def test_another_authority_is_not_trusted(
    house: House, make_event: MakeEvent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Authority.create(tmp_path / "ca.crt", "somebody else")
    monkeypatch.setenv("TLS_CA_FILE", str(tmp_path / "ca.crt"))
    monkeypatch.setattr(wiring, "FLUSH_SECONDS", 0.1)
    with DataStorage(https=True) as storage:
        async with house.running(datastorage=storage.config) as task:
            reason = "its certificate is not trusted (unable to get local issuer certificate)"
            await eventually_async(lambda: reason in house.readyz()[1])
            assert await house.end(task) == 0
        assert not storage.requests


@pytest.mark.parametrize("content", [None, "", "not a certificate", "-----BEGIN CERTIFICATE-----\nx"])
async def test_a_ca_file_that_is_named_and_cannot_be_used_ends_the_start(
    house: House, tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca_file = tmp_path / "ca.crt"
    if content is not None:
        ca_file.write_text(content)
    monkeypatch.setenv("TLS_CA_FILE", str(ca_file))
    https = {"url": "https://127.0.0.1:1", "healthUrl": "https://127.0.0.1:1/readyz"}
    problem = "No such file or directory" if content is None else "it holds no certificates in PEM format"
    with pytest.raises(StartError) as caught:
        await house.make(datastorage=https).run()
    assert str(caught.value) == (
        f"cannot use the CA file {ca_file}, named by TLS_CA_FILE: {problem}; mount it or unset TLS_CA_FILE"
    )


async def test_a_ca_file_does_not_matter_to_plain_http(
    house: House, storage: DataStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TLS_CA_FILE", "/nowhere/ca.crt")
    async with house.running(datastorage=storage.config):
        await eventually_async(lambda: house.readyz()[0])
