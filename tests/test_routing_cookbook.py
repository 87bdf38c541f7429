"""Every recipe of the routing cookbook loads, and sends to the channels that stand beneath it."""

import re
from pathlib import Path

import pytest

from kubernaut_api import NotificationRequest
from kubernaut_notification.routing.config import load_routing
from kubernaut_notification.routing.router import Router

PAGE = (Path(__file__).parents[1] / "docs" / "notification" / "routing-cookbook.md").read_text()
RECIPES = re.findall(r"^## (.+?)\n.*?^```yaml\n(.*?)^```$(.*?)(?=^## )", PAGE, re.MULTILINE | re.DOTALL)
PROMISE = re.compile(r"^> (?P<what>.+?) → (?P<channels>.+)$", re.MULTILINE)
CASES = [(title, text, match["what"], match["channels"]) for title, text, rest in RECIPES
         for match in PROMISE.finditer(rest)]  # fmt: skip


def notification(what: str) -> NotificationRequest:
    """The notification that a promise speaks of."""
    spec = {"type": "Simple", "priority": "Low", "subject": "s", "body": "b"}
    if found := re.search(r"an? `(\w+)` notification of priority `(\w+)`", what):
        spec["type"], spec["priority"] = found[1], found[2]
    if found := re.search(r"severity `(\w+)`", what):
        spec["severity"] = found[1]
    found = re.search(r"extensions `([^`]+)`", what)
    extensions = dict(pair.split(": ") for pair in found[1].split(", ")) if found else {}
    return NotificationRequest.model_validate(
        {"metadata": {"name": "n", "namespace": "ns"}, "spec": {**spec, "extensions": extensions}}
    )


def test_every_recipe_promises_something() -> None:
    assert len(RECIPES) == PAGE.count("```yaml") >= 8
    assert {title for title, *_ in CASES} == {title for title, *_ in RECIPES}


@pytest.mark.parametrize(("title", "text", "what", "channels"), CASES)
def test_a_recipe_sends_where_the_page_says(title: str, text: str, what: str, channels: str) -> None:
    router = Router(load_routing(text, title))
    assert list(router.resolve(notification(what)).channels) == re.findall(r"`([^`]+)`", channels)
