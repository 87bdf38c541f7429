"""Whom a target belongs to and what it is worth: by labels and environment, without a policy.

| environment | criticality | service level |
|---|---|---|
| Production | High | Gold |
| Staging | Medium | Silver |
| Development, Test | Low | Bronze |
| Unknown | Medium | Silver |
| none | Medium | Bronze |

Where labels are looked for is told in `enrichment.labels`.
"""

from __future__ import annotations

from kubernaut_api import BusinessClassification, EnvironmentClassification, KubernetesContext
from kubernaut_signalprocessing.enrichment.labels import label_source

LABEL_PREFIX = "kubernaut.ai/"

_WORTH = {
    "Production": ("High", "Gold"),
    "Staging": ("Medium", "Silver"),
    "Development": ("Low", "Bronze"),
    "Test": ("Low", "Bronze"),
    "Unknown": ("Medium", "Silver"),
}
_WORTH_OF_NONE = ("Medium", "Bronze")


def classify_business(
    context: KubernetesContext | None, environment: EnvironmentClassification | None
) -> BusinessClassification:
    """Return the business behind a target: what is not labelled stays empty, its worth follows its environment."""
    labels = label_source(context) if context is not None else {}
    unit = labels.get(f"{LABEL_PREFIX}business-unit")
    criticality, sla = _WORTH.get(environment.environment, _WORTH_OF_NONE) if environment else _WORTH_OF_NONE
    return BusinessClassification(
        business_unit=labels.get(f"{LABEL_PREFIX}team", "") if unit is None else unit,
        service_owner=labels.get(f"{LABEL_PREFIX}service-owner", ""),
        criticality=criticality,
        sla_requirement=sla,
    )
