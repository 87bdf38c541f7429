"""What the default policy says, in both engines; `tests/test_policies.py` compares it with OPA over many inputs."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import pytest
from engines_here import engine_here

from kubernaut_policy import Answer, Policy, PolicyEvaluator, Undefined, Value
from kubernaut_policy.engines import ENGINES

POLICY = files("kubernaut_signalprocessing") / "policy" / "default.rego"
RULES = ("environment", "priority", "severity", "labels", "cluster")


def signal(severity: str = "", labels: dict[str, str] | None = None, cluster: dict[str, str] | None = None) -> Any:
    return {
        "namespace": {"name": "shop", **({"labels": labels} if labels else {})},
        "workload": {"kind": "Pod", "name": "cart-0"},
        "signal": {"severity": severity, "type": "alert", "source": ""},
        "cluster": {"labels": cluster} if cluster else {},
    }


CASES: list[tuple[str, Any, dict[str, Any]]] = [
    (
        "nothing said",
        signal(),
        {
            "environment": {"environment": "Unknown", "source": "default"},
            "priority": {"priority": "P3", "policy_name": "default"},
            "severity": "unknown",
            "labels": {},
        },
    ),
    (
        "production and critical",
        signal("SEV1", {"kubernaut.ai/environment": "production"}),
        {
            "environment": {"environment": "Production", "source": "namespace-labels"},
            "priority": {"priority": "P0", "policy_name": "production-critical"},
            "severity": "critical",
            "labels": {},
        },
    ),
    (
        "production and high",
        signal("High", {"kubernaut.ai/environment": "Production"}),
        {"priority": {"priority": "P1", "policy_name": "production-high"}, "severity": "high"},
    ),
    (
        "production and warning",
        signal("medium", {"kubernaut.ai/environment": "production"}),
        {"priority": {"priority": "P3", "policy_name": "default"}, "severity": "warning"},
    ),
    (
        "staging and critical",
        signal("P0", {"env": "STAGING"}),
        {
            "environment": {"environment": "Staging", "source": "namespace-labels"},
            "priority": {"priority": "P1", "policy_name": "staging-critical"},
        },
    ),
    (
        "staging and something",
        signal("p7", {"kubernaut.ai/environment": "staging"}),
        {"priority": {"priority": "P2", "policy_name": "staging-any"}, "severity": "unknown"},
    ),
    (
        "the label of ours wins",
        signal(labels={"kubernaut.ai/environment": "test", "env": "production"}),
        {"environment": {"environment": "Test", "source": "namespace-labels"}},
    ),
    (
        "a label that names no environment",
        signal(labels={"kubernaut.ai/environment": "qa"}),
        {"environment": {"environment": "Unknown", "source": "default"}},
    ),
    (
        "a label that names no environment, and one that does",
        signal("low", labels={"kubernaut.ai/environment": "qa", "env": "Development"}),
        {"environment": {"environment": "Development", "source": "namespace-labels"}, "severity": "info"},
    ),
    (
        "labels and a cluster",
        signal(
            labels={"kubernaut.ai/team": "payments", "kubernaut.ai/tier": "gold", "kubernaut.ai/region": ""},
            cluster={"environment": "production", "tier": "gold"},
        ),
        {"labels": {"team": ["payments"], "tier": ["gold"]}, "cluster": "production"},
    ),
    ("a cluster with an empty label", signal(cluster={"environment": ""}), {}),
]


@pytest.mark.parametrize("engine", sorted(ENGINES))
async def test_the_default_classification_says_what_its_tables_say(engine: str) -> None:
    policy = Policy.from_bytes(POLICY.read_bytes(), POLICY.name)
    async with PolicyEvaluator(policy, engine=engine_here(engine), spares=0) as evaluator:
        for name, document, wanted in CASES:
            results = await evaluator.evaluate({rule: f"data.signalprocessing.{rule}" for rule in RULES}, document)
            assert results.hash == policy.hash
            for rule, value in wanted.items():
                assert results[rule] == Value(value), (name, rule)
            cluster: Answer = Value("production") if "cluster" in wanted else Undefined()
            assert results["cluster"] == cluster, name
