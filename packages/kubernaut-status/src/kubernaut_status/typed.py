"""Objects as the caller likes them: plain dicts, or pydantic models of the resource.

A mutation gets a copy of its own to change. For a model the difference is taken between two dumps of
that model, so a field that the model does not know is in neither and stays as it is. Lists are sent whole, so their
entries get back what the model does not know of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Generic, TypeVar, cast

from .errors import OutsideStatusError
from .identity import Object, status_of
from .patch import diff, normalize, same, with_unknown

T = TypeVar("T")

_IMMUTABLE = (str, int, float, type(None))


class View(Generic[T]):
    """How one caller sees objects: as dicts, or as instances of the model of the object that it passed."""

    def __init__(self, sample: T) -> None:
        self._model: Any = None if isinstance(sample, Mapping) else type(sample)
        if self._model is not None and not hasattr(self._model, "model_validate"):
            raise TypeError(f"cannot read {self._model.__name__}: pass a dict or a pydantic model")

    def of(self, obj: Object) -> T:
        """A fresh copy of `obj`, the caller's to change."""
        if self._model is None:
            return cast(T, _copied(dict(obj)))
        return cast(T, self._model.model_validate(_copied(dict(obj))))

    def plain(self, value: T) -> dict[str, Any]:
        """`value` as a JSON object."""
        if self._model is None:
            return cast("dict[str, Any]", normalize(value))
        dumped = cast(Any, value).model_dump(mode="json", by_alias=True, exclude_none=True)
        return cast("dict[str, Any]", normalize(dumped))

    def statuses(self, base: Object, changed: T) -> tuple[dict[str, Any], dict[str, Any]]:
        """The status of `base` and that of `changed`, comparable.

        Raises `OutsideStatusError` if anything beside status differs.
        """
        before, after = self.plain(self.of(base)), self.plain(changed)
        outside = sorted(
            key for key in before.keys() | after.keys() if key != "status" and not same(before.get(key), after.get(key))
        )
        if outside:
            raise OutsideStatusError(
                f"cannot write {', '.join(outside)} with a status update: the status subresource would drop the change"
            )
        return before.get("status") or {}, after.get("status") or {}

    def patch(self, before: Mapping[str, Any], after: Mapping[str, Any], base: Object) -> dict[str, Any]:
        """The merge patch between two statuses of `statuses`; entries of lists keep what the model does not know."""
        patch = diff(before, after)
        return patch if self._model is None else with_unknown(patch, before, status_of(base))


def _copied(value: Any) -> Any:
    """What `deepcopy` gives, several times faster for what JSON gave: a commit needs a handful of copies."""
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    if type(value) is list:
        return [_copied(item) for item in value]
    return value if isinstance(value, _IMMUTABLE) else deepcopy(value)
