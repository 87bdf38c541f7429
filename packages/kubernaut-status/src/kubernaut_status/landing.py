"""Did a write whose answer was lost land?

Asked only when the same PATCH, sent again, met a 409: then somebody moved the object, perhaps we. The
fresh object is the witness, and the proofs are tried from the strongest:

1. the caller's own `landed(fresh)`;
2. identities: the entries that the write appended are in the fresh object, or they are not;
3. the status is exactly what was sent, and our managedFields entry is newer than it was in the base;
4. the mutations change nothing when applied to what they made: applying them once more is harmless,
   whether or not they landed.

If none decides, the outcome stays unknown, and that is an error: a counter must never be guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import OutcomeUnknownError
from .identity import Object, ObjectKey, status_of
from .patch import normalize, same


@dataclass(frozen=True, slots=True)
class Landing:
    """The proofs that one manager has: `identities` per list in status, and its `field_manager`."""

    identities: Mapping[str, Sequence[str]]
    field_manager: str

    def landed(
        self, base: Object, sent: Mapping[str, Any], fresh: Object, *, repeatable: bool, proof: bool | None
    ) -> bool:
        """Whether the status `sent`, built on `base`, was stored before `fresh`.

        False means that it is safe to apply the mutations to `fresh`. Raises `OutcomeUnknownError` if
        nothing proves either.
        """
        if proof is not None:
            return proof
        appended = self._entries(sent) - self._entries(status_of(base))
        if appended:
            return appended <= self._entries(status_of(fresh))
        if same(normalize(status_of(fresh)), dict(sent)) and self._written_at(fresh) > self._written_at(base):
            return True
        if repeatable:
            return False
        raise OutcomeUnknownError(
            f"cannot tell whether the last write of {ObjectKey.of(fresh)} was stored: its answer was lost and the "
            "object does not show it; declare `identities` for appended entries or pass `landed`"
        )

    def _entries(self, status: Mapping[str, Any]) -> set[tuple[str, ...]]:
        return {
            (field, *(str(entry.get(part)) for part in parts))
            for field, parts in self.identities.items()
            for entry in status.get(field) or ()
        }

    def _written_at(self, obj: Object) -> str:
        times = (
            str(entry.get("time") or "")
            for entry in (obj.get("metadata") or {}).get("managedFields") or ()
            if self.field_manager
            and entry.get("manager") == self.field_manager
            and entry.get("subresource") == "status"
        )
        return max(times, default="")
