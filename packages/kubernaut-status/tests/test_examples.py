"""The package installs alone, and its examples run there, against a real API server."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from widget_shop import EXAMPLES, WIDGETS, Shop

from kubernaut_status import ObjectKey, fetch
from kubernaut_testing.proxy import Before, FaultProxy, Rule
from kubernaut_testing.waiting import eventually

PACKAGE = Path(__file__).parents[1]
ROOT = PACKAGE.parents[1]
README = re.findall(r"^```python\n(.*?)^```$", (PACKAGE / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def uv() -> str:
    found = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    assert Path(found).exists(), "uv is missing; run `make install`"
    return found


@pytest.fixture(scope="module")
def lone_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but the package's wheel and its aiohttp extra."""
    folder = tmp_path_factory.mktemp("alone")
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}

    def run(*arguments: str) -> None:
        subprocess.run([uv(), *arguments], check=True, env=environment, capture_output=True, text=True)

    run("build", "--wheel", "--out-dir", str(folder / "dist"), str(PACKAGE))
    run("venv", "--python", sys.executable, str(folder / "venv"))
    (wheel,) = (folder / "dist").glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    run("pip", "install", "--python", str(python), f"{wheel}[aiohttp]")
    return python


def test_the_package_imports_without_kopf_kubernetes_or_pydantic(lone_python: Path) -> None:
    code = (
        "import sys, kubernaut_status, kubernaut_status.aiohttp_client\n"
        "import importlib.util as u\n"
        "print([n for n in ('kopf', 'kubernetes', 'pydantic') if u.find_spec(n)])"
    )
    done = subprocess.run([lone_python, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("script", "before", "after", "requests"),
    [
        ("pattern_1_callback.py", {}, {"phase": "Pending"}, ["get 200", "patch 200"]),
        (
            "pattern_2_fixed_signature.py",
            {"phase": "Painting"},
            {"phase": "Done", "totalAttempts": 3},
            ["get 200", "patch 200"],
        ),
        ("pattern_3_direct_retry.py", {"coats": 1}, {"coats": 2}, ["get 200", "patch 200"]),
    ],
)
def test_the_standard_s_patterns_run_with_one_write(
    lone_python: Path, shop: Shop, script: str, before: dict[str, object], after: dict[str, object], requests: list[str]
) -> None:
    shop.create("w", **before)
    done = subprocess.run(
        [lone_python, EXAMPLES / script, shop.namespace, "w"],
        env={**os.environ, **shop.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert after.items() <= shop.get("w")["status"].items()
    assert shop.requests("w") == requests


def test_the_readme_s_example_runs_as_it_stands(lone_python: Path, shop: Shop) -> None:
    shop.create("w", phase="Painting")
    code = README[0].replace('ObjectKey("shop", ', f'ObjectKey("{shop.namespace}", ')
    done = subprocess.run(
        [lone_python, "-c", code], env={**os.environ, **shop.environment}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout[:7]) == (0, "written"), done.stderr
    assert shop.get("w")["status"]["phase"] == "Done"
    assert shop.requests("w") == ["get 200", "patch 200"]


async def test_both_ways_to_connect_of_the_readme_work(shop: Shop, tmp_path: Path) -> None:
    """In a pod by its files, which a test has elsewhere; outside by a kubeconfig."""
    (tmp_path / "token").write_text(shop.control_plane.admin_token + "\n")
    shutil.copy(shop.control_plane.ca_file, tmp_path / "ca.crt")
    pod = README[1].replace("/var/run/secrets/kubernetes.io/serviceaccount", str(tmp_path))
    config = README[2].replace("_config()", f"_config({str(shop.control_plane.kubeconfig)!r})")
    widget = shop.create("w")
    for code in (pod.replace("https://kubernetes.default.svc", shop.control_plane.url), config):
        names: dict[str, Any] = {}
        exec(code, names)  # the reader's own code
        client = names["connect"]()
        assert (await fetch(client, WIDGETS, ObjectKey.of(widget)))["metadata"]["name"] == "w"
        if hasattr(client, "close"):
            await client.close()


@contextmanager
def kopf_operator(shop: Shop, folder: Path, **environment: str) -> Iterator[None]:
    """The example operator as a process."""
    config = {"KUBECONFIG": str(shop.control_plane.kubeconfig)}
    operator = subprocess.Popen(
        [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace", shop.namespace, "kopf_operator.py"],
        cwd=EXAMPLES,
        env={**os.environ, **shop.environment, **config, **environment},
        stdout=(folder / "log").open("w"),
        stderr=subprocess.STDOUT,
    )
    try:
        yield
    finally:
        operator.terminate()
        operator.wait(timeout=20)


async def test_the_kopf_operator_writes_each_phase_once_and_reads_nothing(shop: Shop, tmp_path: Path) -> None:
    shop.create("w")
    with kopf_operator(shop, tmp_path):
        eventually(lambda: (shop.get("w").get("status") or {}).get("phase") == "Painting", timeout=30)
        shop.foreign_status("w", coats=1)
        shop.create("second")
        eventually(lambda: (shop.get("second").get("status") or {}).get("phase") == "Painting", timeout=30)
    assert shop.requests("w") == ["patch 200", "patch 200"]
    written = [entry for entry in shop.ledger.entries(namespace=shop.namespace) if entry.user_agent.startswith("kopf")]
    assert {entry.verb for entry in written} <= {"get", "list", "watch"}


async def test_the_kopf_operator_lets_a_deleted_object_go(shop: Shop, fault_proxy: FaultProxy, tmp_path: Path) -> None:
    shop.create("w")
    deleted = fault_proxy.add(Rule(Before(lambda _: shop.delete("w")), verb="patch", first=1))
    through_faults = {"API_SERVER": fault_proxy.url, "API_CA_FILE": str(fault_proxy.ca_file)}
    with kopf_operator(shop, tmp_path, **through_faults):
        eventually(lambda: deleted.hits == 1, timeout=30)
        shop.create("second")
        eventually(lambda: (shop.get("second").get("status") or {}).get("phase") == "Painting", timeout=30)
    assert shop.requests("w") == ["patch 404"]


def test_the_kopf_operator_is_as_short_as_promised() -> None:
    lines = (EXAMPLES / "kopf_operator.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) <= 40
