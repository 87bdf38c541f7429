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
