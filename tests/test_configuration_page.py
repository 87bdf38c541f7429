"""The page of config keys names every key that the Notification controller reads, with its default."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from kubernaut_notification.config import NotificationConfig
from kubernaut_runtime.durations import parse_duration

PAGE = (Path(__file__).parents[1] / "docs" / "notification" / "configuration.md").read_text()
ROWS = dict(
    re.findall(r"^\| `([A-Za-z]+(?:\.[A-Za-z.]+)?)` \| (.+?) \|", PAGE.split("## Environment")[0], re.MULTILINE)
)


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and default of every leaf."""
    for field in model.model_fields.values():
        key = f"{prefix}{field.alias}"
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        section = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if section is not None:
            yield from keys_of(section, f"{key}.")
        else:
            yield key, field.get_default(call_default_factory=True) if not field.is_required() else "required"


KEYS = dict(keys_of(NotificationConfig))


def test_the_page_names_every_key_and_no_other() -> None:
    assert sorted(ROWS) == sorted(KEYS)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_the_page_gives_the_default(key: str) -> None:
    default, told = KEYS[key], ROWS[key].strip("`")
    if key == "controller.leaderElectionId":
        assert (default, told) == (None, "notification.kubernaut.ai")
    elif default == "required":
        assert told.startswith("required")
    elif default in (None, ""):
        assert told == "none"
    elif isinstance(default, bool):
        assert told == str(default).lower()
    elif isinstance(default, float):
        assert parse_duration(told) == default
    else:
        assert told == str(default)
