"""Whom a target belongs to, and what it is worth."""

from __future__ import annotations

import pytest

from kubernaut_api import EnvironmentClassification, KubernetesContext, NamespaceContext, WorkloadContext
from kubernaut_api.enrichment import CRITICALITIES, SLA_TIERS
from kubernaut_signalprocessing.classification.business import classify_business


def context(namespace: dict[str, str] | None = None, workload: dict[str, str] | None = None) -> KubernetesContext:
    def labelled(labels: dict[str, str]) -> dict[str, str]:
        return {f"kubernaut.ai/{name}": value for name, value in labels.items()}

    return KubernetesContext(
        namespace=NamespaceContext(name="shop", labels=labelled(namespace)) if namespace is not None else None,
        workload=WorkloadContext(kind="Node", name="n", labels=labelled(workload)) if workload is not None else None,
    )


@pytest.mark.parametrize(
    ("environment", "worth"),
    [
        ("Production", ("High", "Gold")),
        ("Staging", ("Medium", "Silver")),
        ("Development", ("Low", "Bronze")),
        ("Test", ("Low", "Bronze")),
        ("Unknown", ("Medium", "Silver")),
        (None, ("Medium", "Bronze")),
        ("", ("Medium", "Bronze")),
    ],
)
def test_the_environment_decides_what_it_is_worth(environment: str | None, worth: tuple[str, str]) -> None:
    known = None if environment is None else EnvironmentClassification(environment=environment)
    business = classify_business(None, known)
    assert (business.criticality, business.sla_requirement) == worth
    assert business.criticality in CRITICALITIES
    assert business.sla_requirement in SLA_TIERS


@pytest.mark.behaviour(82, 83, 84, "W21")
@pytest.mark.parametrize(
    ("found", "unit", "owner"),
    [
        (context({"business-unit": "payments", "team": "a", "service-owner": "ann"}), "payments", "ann"),
        (context({"team": "payments"}), "payments", ""),
        (context({"business-unit": "", "team": "payments"}), "", ""),
        (context(None, {"business-unit": "infrastructure"}), "infrastructure", ""),
        (context({"team": "payments"}, {"service-owner": "bob"}), "payments", "bob"),
        (context({"team": "payments"}, {"team": "other"}), "payments", ""),
        (context(), "", ""),
        (None, "", ""),
    ],
)
def test_labels_tell_whom_it_belongs_to(found: KubernetesContext | None, unit: str, owner: str) -> None:
    business = classify_business(found, None)
    assert (business.business_unit, business.service_owner) == (unit, owner)


def test_labels_do_not_decide_what_it_is_worth() -> None:
    labels = {"criticality": "Critical", "sla": "Platinum", "sla-tier": "Platinum"}
    business = classify_business(context(labels), EnvironmentClassification(environment="Test"))
    assert (business.criticality, business.sla_requirement) == ("Low", "Bronze")
