"""How the tests of generated CRDs look at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


def _without_words(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _without_words(v) for k, v in schema.items() if not (k == "description" and isinstance(v, str))}
    return [_without_words(item) for item in schema] if isinstance(schema, list) else schema


@pytest.fixture(scope="session")
def without_words() -> Callable[[Any], Any]:
    """Return a function that takes the descriptions out of a schema: what is left is what the API server acts on."""
    return _without_words


@pytest.fixture(scope="session")
def full_signal_processing() -> dict[str, Any]:
    """A SignalProcessing with every field of its schema, without what an API server adds. Not to be changed."""
    return {
        "apiVersion": "kubernaut.ai/v1alpha1",
        "kind": "SignalProcessing",
        "metadata": {
            "name": "sp-a",
            "ownerReferences": [
                {
                    "apiVersion": "kubernaut.ai/v1alpha1",
                    "kind": "RemediationRequest",
                    "name": "a",
                    "uid": "u-0",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "remediationRequestRef": {
                "apiVersion": "kubernaut.ai/v1alpha1",
                "kind": "RemediationRequest",
                "name": "a",
                "namespace": "kubernaut-system",
                "uid": "u-0",
            },
            "signal": {
                "fingerprint": "0123456789abcdef" * 4,
                "name": "PredictedOOMKill",
                "severity": "Sev1",
                "type": "alert",
                "source": "prometheus-adapter",
                "clusterID": "prod-east-1",
                "targetType": "kubernetes",
                "targetResource": {"kind": "Pod", "name": "api-1", "namespace": "shop"},
                "labels": {"alertname": "PredictedOOMKill"},
                "annotations": {"summary": "Memory – läuft voll"},
                "firingTime": "2026-03-01T09:59:00Z",
                "receivedTime": "2026-03-01T09:59:30.123456Z",
                "providerData": '{"a": 1}',
            },
            "enrichmentConfig": {
                "enableClusterState": True,
                "enableMetrics": True,
                "enableHistorical": True,
                "timeout": "5s",
            },
            "timesOutAt": "2026-03-01T10:05:00Z",
        },
        "status": {
            "observedGeneration": 1,
            "phase": "Completed",
            "startTime": "2026-03-01T10:00:00Z",
            "completionTime": "2026-03-01T10:00:01Z",
            "kubernetesContext": {
                "clusterID": "prod-east-1",
                "cluster": {"labels": {"tier": "gold"}},
                "namespace": {"name": "shop", "labels": {"a": "b"}, "annotations": {"c": "d"}},
                "workload": {"kind": "Pod", "name": "api-1", "labels": {"a": "b"}, "annotations": {"c": "d"}},
                "ownerChain": [
                    {"namespace": "shop", "kind": "ReplicaSet", "name": "api-5d", "api_version": "apps/v1"},
                    {"kind": "Deployment", "name": "api"},
                ],
                "customLabels": {"team": ["payments", "platform"]},
                "degradedMode": True,
            },
            "environmentClassification": {
                "environment": "Production",
                "source": "namespace-labels",
                "classifiedAt": "2026-03-01T10:00:00Z",
            },
            "priorityAssignment": {
                "priority": "P0",
                "source": "rego-policy",
                "assignedAt": "2026-03-01T10:00:00Z",
                "policyName": "production-critical",
            },
            "businessClassification": {
                "businessUnit": "payments",
                "serviceOwner": "jo",
                "criticality": "High",
                "slaRequirement": "Gold",
            },
            "signalClassification": {
                "severity": "critical",
                "policyHash": "ab" * 32,
                "clusterClassification": "production",
                "signalMode": "proactive",
                "signalName": "OOMKilled",
                "sourceSignalName": "PredictedOOMKill",
            },
            "conditions": [
                {
                    "type": kind,
                    "status": "True",
                    "reason": "Ready",
                    "message": "",
                    "lastTransitionTime": "2026-03-01T10:00:01Z",
                    "observedGeneration": 1,
                }
                for kind in ("EnrichmentComplete", "Ready")
            ],
            "failureInfo": {
                "error": "busy",
                "consecutiveFailures": 2,
                "lastFailureTime": "2026-03-01T10:00:00.500000Z",
            },
        },
    }
