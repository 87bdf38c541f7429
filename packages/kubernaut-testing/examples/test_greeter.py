"""How the operator in greeter.py is tested: as a process, on a real API server, with proof of what it asked for."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubernaut_testing import ControlPlane, FaultProxy, OperatorProcess, RequestLedger, Rule, eventually, stays
from kubernaut_testing.proxy import ResetAfter

HERE = Path(__file__).parent
RULES = [{"apiGroups": ["example.com"], "resources": ["greetings", "greetings/status"], "verbs": ["*"]}]


@pytest.fixture
def operator(control_plane: ControlPlane, fault_proxy: FaultProxy, namespace: str) -> Iterator[OperatorProcess]:
    control_plane.apply(HERE / "greeting-crd.yaml")
    control_plane.service_account(namespace, "greeter", rules=RULES)
    kubeconfig = fault_proxy.kubeconfig_for(control_plane.kubeconfig_for(namespace, "greeter"))
    command = [sys.executable, "-m", "kopf", "run", "--standalone", "-n", namespace, HERE / "greeter.py"]
    with OperatorProcess(command, env={"KUBECONFIG": str(kubeconfig)}) as running:
        yield running


def test_one_greeting_costs_one_patch(
    operator: OperatorProcess, control_plane: ControlPlane, namespace: str, ledger: RequestLedger
) -> None:
    greeting = greet(control_plane, namespace)

    def phase() -> str:
        return str(control_plane.api.get("example.com/v1", "Greeting", namespace, "hi").get("status", {}).get("phase"))

    eventually(lambda: phase() == "Greeted", timeout=30)
    ledger.settle()
    stays(lambda: ledger.phases(greeting), seconds=1)
    ledger.assert_requests(greeting, {"patch/status": 1, "get": 0}, user_agent="kopf", only=True)
    assert ledger.phases(greeting) == ["", "Greeted"]


def test_an_answer_that_is_lost_after_the_commit_is_survived(
    operator: OperatorProcess,
    control_plane: ControlPlane,
    namespace: str,
    ledger: RequestLedger,
    fault_proxy: FaultProxy,
) -> None:
    lost = fault_proxy.add(Rule(ResetAfter(), verb="patch", resource="greetings", first=1))
    greeting = greet(control_plane, namespace)
    lost.wait(timeout=30)
    eventually(lambda: ledger.phases(greeting) == ["", "Greeted"], timeout=30)
    assert operator.running


def greet(control_plane: ControlPlane, namespace: str) -> dict[str, Any]:
    meta = {"namespace": namespace, "name": "hi"}
    manifest = {"apiVersion": "example.com/v1", "kind": "Greeting", "metadata": meta, "spec": {"name": "Ada"}}
    return control_plane.api.create(manifest)
