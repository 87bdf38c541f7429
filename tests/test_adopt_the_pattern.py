"""The guide's two operators are run as it shows them, and cost what it says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from widget_shop import EXAMPLES, Shop, client_for

from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import FaultProxy, Rule, Status
from kubernaut_testing.waiting import eventually, stays

GUIDE = Path(__file__).parents[1] / "docs" / "adopt-the-pattern.md"
BEFORE, *AFTER = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture
async def shop(control_plane: ControlPlane, namespace: str, ledger: RequestLedger) -> Shop:
    control_plane.apply(EXAMPLES / "widgets.yaml")
    return Shop(control_plane, namespace, ledger, client_for(control_plane, control_plane.url, control_plane.ca_file))


@contextmanager
def operator(shop: Shop, folder: Path, code: str, **environment: str) -> Iterator[None]:
    """The code as an operator of the shop's namespace."""
    (folder / "painter.py").write_text(code)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace", shop.namespace, "painter.py"],
            cwd=folder,
            env={**os.environ, **shop.environment, "KUBECONFIG": str(shop.control_plane.kubeconfig), **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(timeout=20)


def patches(shop: Shop) -> int:
    shop.ledger.settle()
    return len(shop.ledger.entries(namespace=shop.namespace, name="w", verb="patch"))


def done(shop: Shop) -> bool:
    return bool(shop.get("w").get("status", {}).get("phase") == "Done")


def test_the_operator_before_writes_at_least_five_times(shop: Shop, tmp_path: Path) -> None:
    with operator(shop, tmp_path, BEFORE):
        shop.create("w")
        eventually(lambda: done(shop) and patches(shop) >= 5, timeout=60)


def test_the_operator_after_the_four_steps_writes_twice_and_reads_nothing(shop: Shop, tmp_path: Path) -> None:
    with operator(shop, tmp_path, "\n\n".join(AFTER)):
        shop.create("w")
        eventually(lambda: done(shop), timeout=60)
        stays(lambda: shop.get("w")["metadata"]["resourceVersion"], seconds=1)
    expected = {"patch/status": 2, "get": 0}
    shop.ledger.assert_requests(f"widgets/{shop.namespace}/w", expected, user_agent="widget-painter")
    status = shop.get("w")["status"]
    assert (status["message"], status["coats"], status["phase"]) == ("accepted", 1, "Done")
    assert "paintedAt" in status


def test_a_pass_of_it_that_was_refused_is_made_again_though_no_event_comes(
    shop: Shop, fault_proxy: FaultProxy, tmp_path: Path
) -> None:
    """The second write is refused once; the only event that follows the first is its echo."""
    shop.create("w")
    refused = fault_proxy.add(Rule(Status(403), verb="patch", nth=2))
    through_faults = {"API_SERVER": fault_proxy.url, "API_CA_FILE": str(fault_proxy.ca_file)}
    with operator(shop, tmp_path, "\n\n".join(AFTER), **through_faults):
        eventually(lambda: done(shop), timeout=60)
    assert refused.hits == 1
    assert "again in 5 s" in (tmp_path / "log").read_text()
    assert "Unclosed" not in (tmp_path / "log").read_text()
