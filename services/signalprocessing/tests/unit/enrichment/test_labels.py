import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_api import KubernetesContext
from kubernaut_signalprocessing.enrichment.labels import (
    MAX_KEY_BYTES,
    MAX_LABELS,
    MAX_VALUE_BYTES,
    MAX_VALUES,
    RESERVED_PREFIXES,
    custom_labels,
    cut_bytes,
    label_source,
    sanitised,
)


def context(namespace=None, workload=None):
    parts = {}
    if namespace is not None:
        parts["namespace"] = {"name": "shop", "labels": namespace}
    if workload is not None:
        parts["workload"] = {"kind": "Pod", "name": "web", "labels": workload}
    return KubernetesContext.model_validate(parts)


@pytest.mark.behaviour("W21")
def test_labels_of_the_namespace_win_and_those_of_the_target_fill_in():
    both = context({"kubernaut.ai/team": "shop", "empty": ""}, {"kubernaut.ai/team": "web", "tier": "1", "empty": "x"})
    assert label_source(both) == {"kubernaut.ai/team": "shop", "tier": "1", "empty": ""}
    assert label_source(context()) == {}


@pytest.mark.behaviour(85, 86)
def test_without_an_answer_of_the_policy_the_well_known_labels_are_taken():
    labels = {f"kubernaut.ai/{key}": key for key in ("team", "tier", "cost-center", "environment")}
    given_to_namespace = context(labels | {"kubernaut.ai/region": "", "team": "not this"})
    expected = {"team": ["team"], "tier": ["tier"], "cost-center": ["cost-center"]}
    for answer in (None, {}, "text", {"kubernaut.ai/reserved": "x"}):
        assert custom_labels(given_to_namespace, answer) == expected


@pytest.mark.behaviour(87)
def test_the_labels_of_a_node_count_where_there_is_no_namespace():
    node = context(workload={"kubernaut.ai/team": "infra", "kubernaut.ai/tier": "1"})
    assert custom_labels(node, None) == {"team": ["infra"], "tier": ["1"]}


def test_an_answer_of_the_policy_is_not_mixed_with_well_known_labels():
    assert custom_labels(context({"kubernaut.ai/team": "shop"}), {"tier": "1"}) == {"tier": ["1"]}


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ({"team": "a"}, {"team": ["a"]}),
        ({"team": ["a", 1, None, "b"]}, {"team": ["a", "b"]}),
        ({"n": 1, "none": None, "empty": [], "map": {}, "": "x", "ok": "y"}, {"ok": ["y"]}),
        ({"kubernaut.ai/team": "a", "system/x": "b", "systemd": "c"}, {"systemd": ["c"]}),
        ({"v": list("abcdefg")}, {"v": list("abcde")}),
        ({"k" * 70: "x", "k" * 63 + "a": "y"}, {"k" * 63: ["y"]}),
        ({"v": "€" * 40}, {"v": ["€" * 33]}),
    ],
)
def test_what_is_not_usable_in_an_answer_is_dropped(answer, kept):
    assert sanitised(answer) == kept


@pytest.mark.behaviour("W20")
def test_the_first_ten_by_name_are_kept_whatever_their_order():
    names = [f"l{number:02}" for number in range(15)]
    assert list(sanitised(dict.fromkeys(reversed(names), "x"))) == names[:10]


answers = st.dictionaries(
    st.text(max_size=80) | st.sampled_from(["kubernaut.ai/x", "system/y"]),
    st.text(max_size=120) | st.lists(st.text(max_size=120) | st.integers(), max_size=8) | st.none(),
    max_size=15,
)


@pytest.mark.behaviour("W20")
@given(answers, st.randoms())
def test_limits_hold_and_the_order_of_an_answer_does_not_matter(answer, random):
    labels = sanitised(answer)
    assert len(labels) <= MAX_LABELS
    for key, values in labels.items():
        assert 0 < len(key.encode()) <= MAX_KEY_BYTES
        assert not key.startswith(RESERVED_PREFIXES)
        assert 0 < len(values) <= MAX_VALUES
        assert all(len(value.encode()) <= MAX_VALUE_BYTES for value in values)
    shuffled = list(answer.items())
    random.shuffle(shuffled)
    assert sanitised(dict(shuffled)) == labels
    assert sanitised(labels) == labels


@pytest.mark.behaviour("W20")
@given(st.text(), st.integers(min_value=0, max_value=20))
def test_a_text_is_cut_between_code_points_and_not_earlier_than_needed(text, limit):
    kept = cut_bytes(text, limit)
    assert text.startswith(kept)
    assert len(kept.encode()) <= limit
    rest = text[len(kept) :]
    assert not rest or len((kept + rest[0]).encode()) > limit
