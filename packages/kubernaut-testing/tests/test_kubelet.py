"""Pods of a real control plane run on the local kubelet as on a node: rollouts, probes, restarts, Jobs, the end."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from kubernaut_testing import FaultProxy, Rule, eventually, stays
from kubernaut_testing.cluster import Cluster
from kubernaut_testing.kubelet import Settings
from kubernaut_testing.process import runs
from kubernaut_testing.proxy import Status

from .tiny_pods import Pods

PROBE = {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 20}  # a busy machine takes long to answer


@pytest.fixture
def pods(cluster: Cluster, cluster_namespace: str) -> Pods:
    return Pods(cluster, cluster_namespace)


@pytest.fixture
def deploy(cluster: Cluster, pods: Pods) -> Callable[..., None]:
    def apply(replicas: int, **env: str) -> None:
        container = {
            "name": "main",
            "image": "example.com/tiny:1",
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1},
            "ports": [{"name": "http", "containerPort": 8080}],
        }
        template = {
            "metadata": {"labels": {"app": "tiny"}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 5},
        }
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "tiny"}}, "template": template}
        meta = {"namespace": pods.namespace, "name": "tiny"}
        cluster.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec})

    return apply


def test_a_deployment_is_rolled_out_changed_and_rolled_back(
    cluster: Cluster, pods: Pods, deploy: Callable[..., None]
) -> None:
    def versions() -> dict[str, str]:
        """Version by pod, once the rollout is over."""
        found = cluster.api.list("v1", "Pod", pods.namespace)
        status = cluster.api.get("apps/v1", "Deployment", pods.namespace, "tiny").get("status", {})
        if status.get("availableReplicas") != 2 or status.get("updatedReplicas") != 2 or len(found) != 2:
            return {}
        return {pod["metadata"]["name"]: pods.call(pod["metadata"]["name"], "look")["env"]["VERSION"] for pod in found}

    deploy(2, VERSION="one")
    first = eventually(versions, timeout=30)
    assert set(first.values()) == {"one"}
    addresses = {cluster.kubelet.address(pods.namespace, name) for name in first}
    assert len(addresses) == 2
    assert addresses == {pod["status"]["podIP"] for pod in cluster.api.list("v1", "Pod", pods.namespace)}

    deploy(2, VERSION="two")
    second = eventually(lambda: set((versions() or {"": "one"}).values()) == {"two"} and versions(), timeout=30)
    assert not set(first) & set(second)
    assert {pods.logs(name) for name in first} == {"hello\ntold to stop\n"}

    deploy(2, VERSION="one")
    eventually(lambda: set((versions() or {"": "two"}).values()) == {"one"}, timeout=30)


def test_a_container_is_alone_with_what_its_spec_gives_it(pods: Pods) -> None:
    tight = {"readOnlyRootFilesystem": True, "runAsUser": 1234, "runAsGroup": 99}
    other = pods.create("other", workingDir="/data")
    name = pods.create(
        "alone",
        env=[
            {"name": "PLAIN", "value": "at $(WHERE) $$(WHERE) $(UNKNOWN)"},
            {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "LATER", "value": "at $(WHERE) $$(WHERE) $(UNKNOWN)"},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
        ],
        args=["args", "of", "$(WHERE)"],
        resources={"limits": {"cpu": "250m"}},
        securityContext=tight,
        volumeMounts=[{"name": "scratch", "mountPath": "/tmp"}],
        pod={
            "volumes": [{"name": "scratch", "emptyDir": {}}],
            "hostAliases": [{"ip": "127.1.1.1", "hostnames": ["x"]}],
        },
    )
    pods.ready(name)
    address = pods.cluster.kubelet.address(pods.namespace, name)
    seen = pods.call(name, "look")
    assert (seen["uid"], seen["pid"], seen["hostname"], seen["cwd"]) == (1234, 1, name, "/")
    assert seen["processes"] == ["1"]
    assert int(seen["capabilities"], 16) == 0
    assert seen["env"]["PLAIN"] == "at $(WHERE) $(WHERE) $(UNKNOWN)"
    assert seen["env"]["LATER"] == f"at {address} $(WHERE) $(UNKNOWN)"
    assert seen["env"]["CPU"] == "250"
    assert not {"USER", "VIRTUAL_ENV", "PYTEST_CURRENT_TEST"} & set(seen["env"])
    assert pods.logs(name) == f"hello args of {address}\n"
    assert "127.1.1.1\tx" in pods.call(name, "read", path="/etc/hosts")
    # Nothing of this machine's users, and nothing of the kubelet's own files.
    assert not pods.call(name, "exists", path="/etc/shadow")
    assert not pods.call(name, "exists", path=str(Path(__file__)))
    assert not pods.call(name, "exists", path=str(pods.cluster.kubeconfig))
    assert pods.call(name, "write", path="/tmp/file") == "ok"
    assert pods.call(name, "write", path="/file") == "OSError"
    pods.ready(other)
    assert pods.call(other, "look")["cwd"] == "/data"
    assert pods.call(other, "look")["uid"] == 65532
    assert pods.call(other, "write", path="/file") == "ok"
    assert not pods.call(other, "exists", path="/tmp/file")


def test_probes_decide_when_a_pod_is_ready_and_when_it_is_restarted(pods: Pods) -> None:
    name = pods.create(
        "probed",
        startupProbe={
            "exec": {"command": ["test", "-e", "/flags/started"]},
            "periodSeconds": 1,
            "failureThreshold": 60,
        },
        readinessProbe={"httpGet": {"path": "/readyz", "port": 8080}, **PROBE},
        livenessProbe={"httpGet": {"path": "/healthz", "port": 8080}, **PROBE, "terminationGracePeriodSeconds": 5},
        volumeMounts=[{"name": "flags", "mountPath": "/flags"}],
        pod={"volumes": [{"name": "flags", "emptyDir": {}}]},
    )
    eventually(lambda: "hello" in pods.logs(name))
    stays(lambda: (pods.container(name)["started"], pods.container(name)["ready"]), seconds=0.5)
    assert pods.call(name, "write", path="/flags/started") == "ok"
    pods.ready(name)
    assert pods.container(name)["started"]
    pods.call(name, "become", what="readyz", code="503")
    eventually(lambda: pods.condition(name, "Ready") == "False")
    assert pods.container(name)["restartCount"] == 0
    pods.call(name, "become", what="readyz", code="200")
    pods.ready(name)
    pods.call(name, "become", what="healthz", code="500")
    eventually(lambda: pods.container(name)["restartCount"] == 1)
    pods.ready(name)
    assert pods.container(name)["lastState"]["terminated"]["exitCode"] == 0
    assert pods.logs(name, previous=True) == "hello\ntold to stop\n"
    assert "Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 500" in pods.events(name)


def test_a_container_that_keeps_failing_waits_longer_each_time(pods: Pods, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods.cluster.kubelet, "settings", Settings(restart_backoff=(0.3, 0.6)))
    name = pods.create("crash", image="python", args=["raise SystemExit(3)"])
    eventually(lambda: pods.container(name).get("restartCount", 0) >= 3)
    message = pods.waits(name, "CrashLoopBackOff")
    assert message.startswith("back-off 0.6s restarting failed container=main pod=crash_")
    assert pods.container(name)["lastState"]["terminated"]["exitCode"] == 3
    assert pods.get(name)["status"]["phase"] == "Running"
    assert pods.condition(name, "Ready") == "False"


def test_a_container_that_is_killed_from_outside_is_restarted(pods: Pods) -> None:
    name = pods.ready(pods.create("victim", args=["first", "words"]))
    pods.cluster.kubelet.kill(pods.namespace, name, signal.SIGKILL)
    eventually(lambda: pods.container(name)["restartCount"] == 1)
    assert pods.container(name)["lastState"]["terminated"]["exitCode"] == 137
    pods.ready(name)
    path = f"/api/v1/namespaces/{pods.namespace}/pods/{name}/log"
    for query in ("", "?previous=true", "?tailLines=1"):
        assert pods.cluster.api.request("GET", path + query) == "hello first words\n"
    with ThreadPoolExecutor() as pool:
        following = pool.submit(pods.cluster.api.request, "GET", f"{path}?follow=true")
        pods.delete(name)
        assert following.result(timeout=30) == "hello first words\ntold to stop\n"


def test_init_containers_run_in_order_before_the_rest(pods: Pods) -> None:
    shared = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    append = (
        "from pathlib import Path; p = Path('/shared/log'); p.write_text((p.read_text() if p.exists() else '') + '{}')"
    )
    init = [
        {"name": "one", "image": "python", "args": [append.format(1)], **shared},
        {"name": "beside", "image": "tiny", "restartPolicy": "Always"},
        {"name": "two", "image": "python", "args": [append.format(2)], **shared},
    ]
    check = "from pathlib import Path; raise SystemExit(0 if Path('/shared/log').read_text() == '12' else 9)"
    main = {"name": "main", "image": "python", "args": [check], **shared}
    volumes = [{"name": "shared", "emptyDir": {}}]
    rest: dict[str, Any] = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5}
    pods.create("ordered", pod={"initContainers": init, "containers": [main], "volumes": volumes, **rest})
    eventually(lambda: pods.get("ordered")["status"]["phase"] == "Succeeded", timeout=30)
    status = pods.get("ordered")["status"]
    codes = {item["name"]: item["state"]["terminated"]["exitCode"] for item in status["initContainerStatuses"]}
    assert (codes["one"], codes["two"]) == (0, 0)
    assert codes["beside"] in (0, 137)  # told to stop before or after it was ready for that

    failing = {"name": "one", "image": "python", "args": ["raise SystemExit(4)"]}
    pods.create("broken", pod={"initContainers": [failing], "containers": [main], "volumes": volumes, **rest})
    eventually(lambda: pods.get("broken")["status"]["phase"] == "Failed")
    assert pods.container("broken")["state"]["waiting"]["reason"] == "PodInitializing"


def test_a_job_tells_how_it_ended(cluster: Cluster, pods: Pods) -> None:
    def job(name: str, code: str, **container: str) -> None:
        main = {"name": "main", "image": "python", "args": [code], **container}
        template = {"spec": {"restartPolicy": "Never", "containers": [main]}}
        meta = {"namespace": pods.namespace, "name": name}
        spec = {"backoffLimit": 0, "template": template}
        cluster.api.create({"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec})

    def ended(name: str) -> tuple[str, dict[str, Any]] | None:
        status = cluster.api.get("batch/v1", "Job", pods.namespace, name).get("status", {})
        over = [item["type"] for item in status.get("conditions", []) if item["type"] in ("Complete", "Failed")]
        if not over:
            return None
        (pod,) = cluster.api.list("v1", "Pod", pods.namespace, selector=f"job-name={name}")
        return over[0], pod["status"]["containerStatuses"][0]["state"]["terminated"]

    job("good", "open('/dev/termination-log', 'w').write('it went well')")
    job(
        "bad",
        "print('first', flush=True); raise SystemExit('it went wrong')",
        terminationMessagePolicy="FallbackToLogsOnError",
    )
    kind, state = eventually(lambda: ended("good"), timeout=30)
    assert (kind, state["exitCode"], state["reason"], state["message"]) == ("Complete", 0, "Completed", "it went well")
    kind, state = eventually(lambda: ended("bad"), timeout=30)
    assert (kind, state["exitCode"], state["reason"]) == ("Failed", 1, "Error")
    assert state["message"].splitlines()[-1] == "it went wrong"
    cluster.api.delete("batch/v1", "Job", pods.namespace, "good")


def test_deletion_lets_a_pod_finish_and_kills_it_when_its_time_is_over(pods: Pods) -> None:
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('hello', flush=True); time.sleep(600)"
    kind, rude = pods.create("kind"), pods.create("rude", image="python", args=[deaf], pod={})
    pods.ready(kind)
    pods.ready(rude)
    number = pods.cluster.kubelet.pid(pods.namespace, rude)
    path = f"/api/v1/namespaces/{pods.namespace}/pods/{rude}?gracePeriodSeconds=1"
    pods.cluster.api.request("DELETE", path)
    pods.delete(kind)
    eventually(lambda: pods.gone(kind))
    assert pods.logs(kind) == "hello\ntold to stop\n"
    eventually(lambda: pods.gone(rude))
    assert not runs(number)
    assert "Killing: Stopping container main" in pods.events(rude)

    forced = pods.ready(pods.create("forced", image="python", args=[deaf]))
    number = pods.cluster.kubelet.pid(pods.namespace, forced)
    pods.cluster.api.request("DELETE", f"/api/v1/namespaces/{pods.namespace}/pods/{forced}?gracePeriodSeconds=0")
    eventually(lambda: not runs(number))


def test_a_pod_that_is_deleted_while_it_starts_leaves_no_process(pods: Pods) -> None:
    word = f"word-{pods.namespace}"
    names = [pods.create(f"brief-{number}", args=[word], pod={}) for number in range(8)]
    for number, name in enumerate(names):
        time.sleep(0.01 * number)
        path = f"/api/v1/namespaces/{pods.namespace}/pods/{name}?gracePeriodSeconds={number % 2}"
        pods.cluster.api.request("DELETE", path)

    def processes() -> int:
        found = 0
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                found += word.encode() in path.read_bytes()
        return found

    eventually(lambda: all(pods.gone(name) for name in names) and processes() == 0, timeout=30)
    stays(processes, seconds=0.5)


def test_what_cannot_be_started_says_why(pods: Pods) -> None:
    pods.create("who", image="nobody/knows:1")
    pods.create("root", pod={"securityContext": {"runAsNonRoot": True}}, image="rooted")
    pods.create("zero", securityContext={"runAsNonRoot": True, "runAsUser": 0})
    pods.create("lost", command=["/bin/not-there"])
    pods.create("there", pod={"nodeSelector": {"disk": "fast"}})
    pods.create("env", env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "a"}}}])
    assert "container has runAsNonRoot and image will run as root" in pods.waits("root", "CreateContainerConfigError")
    assert "runAsUser breaks non-root policy" in pods.waits("zero", "CreateContainerConfigError")
    assert 'configmap "later" not found' in pods.waits("env", "CreateContainerConfigError")
    assert "not among the images that the local kubelet was given" in pods.waits("who", "ImagePullBackOff")
    eventually(lambda: "/bin/not-there" in pods.container("lost")["lastState"]["terminated"]["message"])
    assert pods.container("lost")["lastState"]["terminated"]["reason"] == "StartError"
    eventually(lambda: any("FailedScheduling: 0/1 nodes are available" in line for line in pods.events("there")))
    # What was missing comes, and nothing else is needed.
    pods.source("ConfigMap", "later", b="2")
    eventually(lambda: "couldn't find key a" in pods.waits("env", "CreateContainerConfigError"))
    pods.source("ConfigMap", "later", a="1")
    pods.cluster.kubelet.images["nobody/knows"] = pods.cluster.kubelet.images["tiny"]
    node = {"metadata": {"labels": {"disk": "fast"}}}
    pods.cluster.api.patch("v1", "Node", None, "local", node)
    for name in ("env", "who", "there"):
        pods.ready(name)
    assert pods.call("env", "look")["env"]["A"] == "1"


def test_a_pod_costs_few_requests_and_at_rest_none(cluster: Cluster, pods: Pods) -> None:
    ledger = cluster.control_plane.ledger().fresh()
    name = pods.ready(pods.create("cheap"))
    key = f"pods/{pods.namespace}/{name}"
    stays(lambda: len(ledger.requests(key)), seconds=1.5)
    counted = ledger.count(key, user_agent="local-kubelet")
    # One write says that it runs; on a slow machine one before says that it is being made.
    assert 1 <= counted.pop("patch/status") <= 2
    assert counted == {"create/binding": 1}


def test_the_kubelet_outlives_a_restart_of_the_api_server(cluster: Cluster, pods: Pods) -> None:
    before = pods.ready(pods.create("before"))
    number = cluster.kubelet.pid(pods.namespace, before)
    cluster.control_plane.restart_apiserver(graceful=False)
    pods.ready(pods.create("after"), timeout=30)
    assert cluster.kubelet.pid(pods.namespace, before) == number
    assert pods.container(before)["restartCount"] == 0
    pods.delete(before)
    eventually(lambda: pods.gone(before), timeout=20)


def test_a_pod_talks_to_the_api_server_through_a_proxy(
    cluster: Cluster, pods: Pods, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/api/v1/namespaces/{pods.namespace}/configmaps/kube-root-ca.crt"
    cluster.control_plane.service_account(
        pods.namespace, "reader", rules=[{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    )
    with FaultProxy(cluster.control_plane) as proxy:
        monkeypatch.setattr(cluster.kubelet, "settings", Settings(api=proxy))
        name = pods.ready(pods.create("routed", pod={"serviceAccountName": "reader"}))
        assert pods.call(name, "ask_api", path=path) == 200
        proxy.add(Rule(Status(503), resource="configmaps"))
        assert pods.call(name, "ask_api", path=path) == 503


def test_services_over_pods_make_no_trouble(cluster: Cluster, pods: Pods) -> None:
    """The API refuses loopback addresses as endpoints; the controllers that would try for ever are off."""
    meta = {"namespace": pods.namespace, "name": "tiny"}
    spec = {"selector": {"app": "tiny"}, "ports": [{"port": 80, "targetPort": 8080}]}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
    name = pods.ready(pods.create("served"))
    label = {"metadata": {"labels": {"app": "tiny"}}}
    cluster.api.patch("v1", "Pod", pods.namespace, name, label)
    stays(lambda: pods.events("tiny"), seconds=1.5)
    assert pods.events("tiny") == []


def test_no_container_survives_a_kubelet_that_is_killed(cluster: Cluster, pods: Pods, tmp_path: Path) -> None:
    program = """
        import sys, time
        from pathlib import Path
        from types import SimpleNamespace
        from kubernaut_testing.kubelet import LocalKubelet
        plane = SimpleNamespace(url=sys.argv[1], admin_token=sys.stdin.readline().strip(), ca_file=Path(sys.argv[2]))
        deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
        with LocalKubelet(plane, {"deaf": ["python", "-c", deaf]}, node_name="doomed") as kubelet:
            while True:
                try:
                    print(kubelet.pid(sys.argv[3], "orphan"), flush=True)
                    break
                except LookupError:
                    time.sleep(0.02)
            time.sleep(600)
    """
    plane = cluster.control_plane
    command = [sys.executable, "-c", textwrap.dedent(program), plane.url, str(plane.ca_file), pods.namespace]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdin is not None
    assert owner.stdout is not None
    try:
        owner.stdin.write(f"{plane.admin_token}\n")
        owner.stdin.flush()
        pods.create("orphan", image="deaf", pod={"nodeName": "doomed"})
        number = int(owner.stdout.readline())
        assert runs(number)
        owner.kill()
        eventually(lambda: not runs(number))
    finally:
        owner.kill()
        owner.communicate()
        cluster.api.delete("v1", "Node", None, "doomed")
        path = f"/api/v1/namespaces/{pods.namespace}/pods/orphan?gracePeriodSeconds=0"
        cluster.api.request("DELETE", path)
