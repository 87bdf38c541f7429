from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut_notification.delivery.mrkdwn import to_mrkdwn


@pytest.mark.parametrize(
    ("markdown", "mrkdwn"),
    [
        ("**b**", "*b*"),
        ("__b__", "*b*"),
        ("**a** and **b**", "*a* and *b*"),
        ("~~s~~", "~s~"),
        ("[text](https://x/y)", "<https://x/y|text>"),
        ("![alt](https://x/y.png)", "<https://x/y.png|alt>"),
        ("![](https://x/y.png)", "<https://x/y.png|>"),
        ("[x](!channel)", "[x](!channel)"),
        ("![x](!here|y)", "![x](!here|y)"),
        ("[x](@U012) [y](#C012) [z](!subteam^S1)", "[x](@U012) [y](#C012) [z](!subteam^S1)"),
        ("# One", "*One*"),
        ("###### Six", "*Six*"),
        ("####### Seven", "####### Seven"),
        ("#nospace", "#nospace"),
        ("## A **bold** one", "*A *bold* one*"),
        ("_italic_", "_italic_"),
        ("- a\n* b\n1. c", "- a\n* b\n1. c"),
        ("> quoted", "> quoted"),
        ("a\n> quoted > not", "a\n> quoted &gt; not"),
        ("a < b & c", "a &lt; b &amp; c"),
        ("`**code** <x>`", "`**code** <x>`"),
        ("```go\nx := **1** & 2\n```", "```\nx := **1** & 2\n```"),
        ("```\nplain\n```", "```\nplain\n```"),
        ("```one line```", "```one line```"),
        ("a\n```\n\n```\nb", "a\n\nb"),
        ("a\n\n\n\n\nb", "a\n\nb"),
        ("snake__case__name", "snake__case__name"),
        ("[x](https://h/?a=1&b=2)", "<https://h/?a=1&amp;b=2|x>"),
    ],
)
@pytest.mark.behaviour(77)
def test_each_rule(markdown: str, mrkdwn: str) -> None:
    assert to_mrkdwn(markdown) == mrkdwn


def test_an_unclosed_fence_is_broken_up() -> None:
    text = to_mrkdwn("a ``` b")
    assert "```" not in text
    assert text == "a `\u200b`\u200b` b"


@given(st.text(alphabet="`*_~#[]()<>&!\n ab\x00", max_size=60))
def test_any_text_can_be_converted_and_ends_with_paired_fences(text: str) -> None:
    converted = to_mrkdwn(text)
    assert converted.count("```") % 2 == 0 or "````" in converted
    assert "\x00" not in converted


@pytest.mark.parametrize("unit", ["[", "![", "`", "```", "**", "__", "~~", "#", "<", "[a](", "**a*", " ", "\n"])
def test_hostile_texts_cost_linear_time(unit: str) -> None:
    begin = time.process_time()
    to_mrkdwn(unit * (300_000 // len(unit)))
    assert time.process_time() - begin < 5
