"""The generated CRD of SignalProcessing, rule by rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubernaut_api.crds import load_crd

Bare = Callable[[Any], Any]
Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TIME: Schema = {"type": "string", "format": "date-time"}
BOOLEAN: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}


def one_of(*words: str) -> Schema:
    return {"type": "string", "enum": list(words)}


def block(*required: str, **fields: Schema) -> Schema:
    schema: Schema = {"type": "object", "properties": fields}
    return schema | ({"required": sorted(required)} if required else {})


@pytest.fixture(scope="module")
def crd() -> Schema:
    return load_crd("signalprocessings")


@pytest.fixture(scope="module")
def version(crd: Schema) -> Schema:
    found: Schema = crd["spec"]["versions"][0]
    return found


@pytest.fixture(scope="module")
def spec(version: Schema) -> Schema:
    found: Schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


@pytest.fixture(scope="module")
def status(version: Schema) -> Schema:
    found: Schema = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    return found


def test_the_names_are_those_of_the_live_crd(crd: Schema) -> None:
    assert (crd["spec"]["group"], crd["spec"]["scope"]) == ("kubernaut.ai", "Namespaced")
    assert crd["spec"]["names"] == {
        "kind": "SignalProcessing",
        "listKind": "SignalProcessingList",
        "plural": "signalprocessings",
        "singular": "signalprocessing",
        "shortNames": ["sp"],
    }


def test_the_printer_columns_are_those_of_the_live_crd(version: Schema) -> None:
    columns = [(c["name"], c["type"], c["jsonPath"], c.get("priority", 0)) for c in version["additionalPrinterColumns"]]
    assert columns == [
        ("Phase", "string", ".status.phase", 0),
        ("Severity", "string", ".status.signalClassification.severity", 0),
        ("Environment", "string", ".status.environmentClassification.environment", 0),
        ("Priority", "string", ".status.priorityAssignment.priority", 0),
        ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 1),
        ("Age", "date", ".metadata.creationTimestamp", 0),
    ]


def test_the_name_of_the_parent_is_selectable(version: Schema) -> None:
    assert version["selectableFields"] == [{"jsonPath": ".spec.remediationRequestRef.name"}]


def test_the_spec_needs_a_parents_name_and_is_immutable(spec: Schema) -> None:
    rules = {rule["rule"]: rule["message"] for rule in spec["x-kubernetes-validations"]}
    assert rules.keys() == {"self.remediationRequestRef.name != ''", "self == oldSelf"}
    assert "audit" in rules["self.remediationRequestRef.name != ''"]
    assert rules["self == oldSelf"] == "spec is immutable after creation (ADR-001)"


def test_the_schema_has_no_defaults(version: Schema) -> None:
    assert "'default'" not in str(version)


SPEC_FIELDS: dict[str, Schema] = {
    "remediationRequestRef": block("name", apiVersion=TEXT, kind=TEXT, name=TEXT, namespace=TEXT, uid=TEXT),
    "signal": block(
        "fingerprint",
        "name",
        "severity",
        "type",
        "targetType",
        "targetResource",
        "receivedTime",
        fingerprint={"type": "string", "maxLength": 64, "pattern": "^[a-f0-9]{64}$"},
        name={"type": "string", "maxLength": 253},
        severity=TEXT,
        type=TEXT,
        source={"type": "string", "maxLength": 63},
        clusterID={"type": "string", "maxLength": 253},
        targetType=one_of("kubernetes", "aws", "azure", "gcp", "datadog"),
        targetResource=block("kind", "name", kind=TEXT, name=TEXT, namespace=TEXT),
        labels=TEXTS,
        annotations=TEXTS,
        firingTime=TIME,
        receivedTime=TIME,
        providerData=TEXT,
    ),
    "enrichmentConfig": block(
        enableClusterState=BOOLEAN, enableMetrics=BOOLEAN, enableHistorical=BOOLEAN, timeout=TEXT
    ),
    "timesOutAt": TIME,
}


@pytest.mark.parametrize("field", sorted(SPEC_FIELDS))
def test_a_spec_field_has_exactly_its_rules(spec: Schema, field: str, without_words: Bare) -> None:
    assert without_words(spec["properties"][field]) == SPEC_FIELDS[field]


def test_the_spec_has_no_further_fields_and_requires_parent_and_signal(spec: Schema) -> None:
    assert set(spec["properties"]) == {*SPEC_FIELDS}
    assert spec["required"] == ["remediationRequestRef", "signal"]


STATUS_FIELDS: dict[str, Schema] = {
    "observedGeneration": {"type": "integer", "format": "int64"},
    "phase": one_of("Pending", "Enriching", "Classifying", "Categorizing", "Completed", "Failed"),
    "startTime": TIME,
    "completionTime": TIME,
    "kubernetesContext": block(
        clusterID=TEXT,
        cluster=block(labels=TEXTS),
        namespace=block("name", name=TEXT, labels=TEXTS, annotations=TEXTS),
        workload=block("kind", "name", kind=TEXT, name=TEXT, labels=TEXTS, annotations=TEXTS),
        ownerChain={
            "type": "array",
            "items": block("kind", "name", namespace=TEXT, kind=TEXT, name=TEXT, api_version=TEXT),
        },
        customLabels={"type": "object", "additionalProperties": {"type": "array", "items": TEXT}},
        degradedMode=BOOLEAN,
    ),
    "environmentClassification": block(
        "environment",
        "source",
        "classifiedAt",
        environment=one_of("Production", "Staging", "Development", "Test", "Unknown"),
        source=TEXT,
        classifiedAt=TIME,
    ),
    "priorityAssignment": block(
        "priority",
        "source",
        "assignedAt",
        priority=one_of("P0", "P1", "P2", "P3"),
        source=TEXT,
        assignedAt=TIME,
        policyName=TEXT,
    ),
    "businessClassification": block(
        businessUnit=TEXT,
        serviceOwner=TEXT,
        criticality=one_of("Critical", "High", "Medium", "Low"),
        slaRequirement=one_of("Platinum", "Gold", "Silver", "Bronze"),
    ),
    "signalClassification": block(
        severity=one_of("critical", "high", "warning", "info", "unknown"),
        policyHash=TEXT,
        clusterClassification=TEXT,
        signalMode=one_of("reactive", "proactive"),
        signalName=TEXT,
        sourceSignalName=TEXT,
    ),
    "failureInfo": block(error=TEXT, consecutiveFailures={"type": "integer", "format": "int32"}, lastFailureTime=TIME),
}


@pytest.mark.parametrize("field", sorted(STATUS_FIELDS))
def test_a_status_field_has_exactly_its_rules(status: Schema, field: str, without_words: Bare) -> None:
    assert without_words(status["properties"][field]) == STATUS_FIELDS[field]


def test_the_status_has_no_further_fields(status: Schema) -> None:
    assert set(status["properties"]) == {*STATUS_FIELDS, "conditions"}
