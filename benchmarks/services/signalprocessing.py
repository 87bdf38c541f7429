"""SignalProcessing: many signals about few targets, as an alert storm is; and the commits of its own phases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from scenarios.signalprocessing import PLURAL, PROGRAM, SignalProcessingSite, signal_processing
from scenarios.workloads import create_workload

from benchmarks.loads import Load
from benchmarks.modes import MODES, Mode
from benchmarks.service import Commit, Example, Service, Stage
from kubernaut_api import (
    SIGNAL_PROCESSING as RESOURCE,
)
from kubernaut_api import (
    BusinessClassification,
    EnvironmentClassification,
    KubernetesContext,
    NamespaceContext,
    OwnerChainEntry,
    PriorityAssignment,
    SignalClassification,
    SignalProcessing,
    WorkloadContext,
)
from kubernaut_signalprocessing.classification.policy import Classification
from kubernaut_signalprocessing.phases import CATEGORIZING, CLASSIFYING, COMPLETED, ENRICHING, PENDING, PHASES
from kubernaut_signalprocessing.status import StatusWriter, Step
from kubernaut_status import StatusManager
from kubernaut_status.aiohttp_client import AiohttpClient
from kubernaut_testing.controlplane import ControlPlane

TARGETS = 20
"""Distinct Pods that the signals of a run are about."""

ENVIRONMENTS = ("production", "staging", "development", "test")
"""One namespace with targets for each, so that the policy's rules differ."""

SEVERITIES = ("Sev1", "Sev2", "Sev3", "Sev4", "critical")
"""The first for the first signal of each target, and so on."""


@contextmanager
def _stage(control_plane: ControlPlane, namespace: str, folder: Path, config: Mapping[str, Any]) -> Iterator[Stage]:
    """A site whose signals go round `TARGETS` Pods of Deployments in as many namespaces as there are environments."""
    namespaces = [_namespace(control_plane, namespace, environment) for environment in ENVIRONMENTS]
    targets = [
        create_workload(control_plane, namespaces[number % len(namespaces)], f"app-{number}")["Pod"]
        for number in range(TARGETS)
    ]
    site = SignalProcessingSite(control_plane, namespace, folder, config=config)
    numbers = count()

    def create(name: str) -> object:
        number = next(numbers)
        severity, target = SEVERITIES[number // TARGETS % len(SEVERITIES)], targets[number % TARGETS]
        return site.create(name, severity=severity, targetResource=target, parent=f"rr-{name}")

    yield Stage(site, create)


def _namespace(control_plane: ControlPlane, namespace: str, environment: str) -> str:
    name = control_plane.create_namespace(f"{namespace}-{environment}")
    labels = {"kubernaut.ai/environment": environment, "kubernaut.ai/team": f"team-{environment}"}
    control_plane.api.patch("v1", "Namespace", None, name, {"metadata": {"labels": labels}})
    return name


async def _prepare(
    phase: str, control_plane: ControlPlane, client: AiohttpClient, mode: Mode, namespace: str, name: str
) -> Commit:
    """Take a signal to `phase`; the commit is that which leaves it."""
    manager = StatusManager(client, RESOURCE, phases=PHASES, mode=mode.update, refetch=mode.refetch)
    status = StatusWriter(manager, _now)
    sp = SignalProcessing.model_validate(control_plane.api.create(signal_processing(namespace, name)))
    while sp.status.phase != phase:
        sp = (await status.commit(sp, _leaving(status, sp))).object
    reached, step = sp, _leaving(status, sp)
    return lambda: status.commit(reached, step)


def _leaving(status: StatusWriter, sp: SignalProcessing) -> Step:
    """What takes `sp` out of its phase, with what a Pod of a Deployment in a labelled namespace gives."""
    match sp.status.phase:
        case "":
            return status.accepted(sp)
        case phase if phase == PENDING:
            return status.begun(sp)
        case phase if phase == ENRICHING:
            return status.enriched(sp, _context())
        case phase if phase == CLASSIFYING:
            return status.classified(sp, _classification())
        case _:
            return status.completed(sp, BusinessClassification(business_unit="payments", criticality="High"))


def _context() -> KubernetesContext:
    return KubernetesContext(
        namespace=NamespaceContext(name="shop", labels={"kubernaut.ai/environment": "production"}),
        workload=WorkloadContext(kind="Pod", name="api-1", labels={"app": "api"}),
        owner_chain=[
            OwnerChainEntry(namespace="shop", kind="ReplicaSet", name="api", api_version="apps/v1"),
            OwnerChainEntry(namespace="shop", kind="Deployment", name="api", api_version="apps/v1"),
        ],
        custom_labels={"team": ["payments"]},
    )


def _classification() -> Classification:
    return Classification(
        EnvironmentClassification(environment="Production", source="namespace-labels", classified_at=_now()),
        PriorityAssignment(priority="P0", source="rego-policy", assigned_at=_now(), policy_name="production-critical"),
        SignalClassification(
            severity="critical", policy_hash="a1" * 32, signal_mode="reactive", signal_name="OOMKilled"
        ),
    )


def _now() -> datetime:
    return datetime.now(UTC)


SIGNAL_PROCESSING = Service(
    name="signalprocessing",
    title="SignalProcessing",
    program=PROGRAM,
    plural=PLURAL,
    end=COMPLETED,
    prefix="signalprocessing",
    objects="signals",
    about=(
        f"Each SignalProcessing is about one of {TARGETS} Pods, each of a ReplicaSet of a Deployment, in "
        f"{len(ENVIRONMENTS)} labelled namespaces; they are objects on the control plane, of which nothing runs. The "
        "policy is the shipped one. The operator has two policy workers, one of them to spare: processes of their own, "
        "whose CPU and memory are told beside the operator's."
    ),
    loads=(Load("signals", "500 at once, 20 targets", 500, rounds=3, modes=MODES),),
    install=SignalProcessingSite.install_crds,
    stage=_stage,
    examples=(
        Example("enriched", "Enriching to Classifying: context, condition, phase", 3, partial(_prepare, ENRICHING)),
        Example(
            "classified",
            "Classifying to Categorizing: environment, priority, signal, condition, phase",
            5,
            partial(_prepare, CLASSIFYING),
        ),
        Example(
            "completed", "Categorizing to Completed: business, conditions, phase", 3, partial(_prepare, CATEGORIZING)
        ),
    ),
    examples_about="The commits that leave a signal's phases with what was found out.",
    notes="""\
* **An API server with real Pods.** Targets are read as metadata alone, so that their size matters little; that their
  number and their changes load a real API server does not show here.
* **A policy of hundreds of rules.** The shipped one takes a few milliseconds.""",
)
"""SignalProcessing, as the benchmarks see it."""
