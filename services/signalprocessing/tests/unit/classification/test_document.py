"""The policy's input, member by member: what is there, and what is absent."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kubernaut_api import ClusterContext, KubernetesContext, NamespaceContext, Signal, WorkloadContext
from kubernaut_signalprocessing.classification.document import input_document

EMPTY = {
    "namespace": {"name": ""},
    "workload": {"kind": "", "name": ""},
    "signal": {"severity": "", "type": "", "source": ""},
    "cluster": {},
}


def test_without_a_context_only_the_names_are_there_and_they_are_empty() -> None:
    assert input_document(Signal(), None) == EMPTY
    assert input_document(Signal(), KubernetesContext()) == EMPTY


def test_empty_maps_are_absent() -> None:
    context = KubernetesContext(
        namespace=NamespaceContext(name="shop"),
        workload=WorkloadContext(kind="Pod", name="api-1"),
        cluster=ClusterContext(),
    )
    signal = Signal(severity="Sev1", type="alert", source="prometheus")
    assert input_document(signal, context) == {
        "namespace": {"name": "shop"},
        "workload": {"kind": "Pod", "name": "api-1"},
        "signal": {"severity": "Sev1", "type": "alert", "source": "prometheus"},
        "cluster": {},
    }


def test_everything_that_a_policy_may_see_and_nothing_else() -> None:
    context = KubernetesContext(
        cluster_id="east",
        namespace=NamespaceContext(name="shop", labels={"a": "1"}, annotations={"b": "2"}),
        workload=WorkloadContext(kind="Pod", name="api-1", labels={"c": "3"}, annotations={"d": "4"}),
        cluster=ClusterContext(labels={"e": "5"}),
        custom_labels={"team": ["x"]},
        degraded_mode=True,
    )
    signal = Signal(
        name="OOMKilled",
        fingerprint="ff",
        severity="s",
        type="t",
        source="o",
        cluster_id="east",
        labels={"f": "6"},
        annotations={"g": "7"},
        provider_data="{}",
    )
    assert input_document(signal, context) == {
        "namespace": {"name": "shop", "labels": {"a": "1"}, "annotations": {"b": "2"}},
        "workload": {"kind": "Pod", "name": "api-1", "labels": {"c": "3"}, "annotations": {"d": "4"}},
        "signal": {"severity": "s", "type": "t", "source": "o", "labels": {"f": "6"}},
        "cluster": {"labels": {"e": "5"}},
    }


MAPS = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2)


@given(MAPS, MAPS, MAPS)
def test_no_map_in_it_is_empty_but_the_cluster(one: dict[str, str], two: dict[str, str], three: dict[str, str]) -> None:
    context = KubernetesContext(
        namespace=NamespaceContext(name="n", labels=one, annotations=two),
        cluster=ClusterContext(labels=three),
    )
    document = input_document(Signal(labels=two), context)
    for part in document.values():
        assert all(value != {} and value is not None for value in part.values())
