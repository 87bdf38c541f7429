"""Did a write whose answer was lost land?

Asked only when the same PATCH, sent again, met a 409: then somebody moved the object, perhaps we. The
fresh object is the witness, and the proofs are tried from the strongest:

1. the caller's own `landed(fresh)`;
2. identities: the entries that the write appended are in the fresh object, or they are not;
3. the status is exactly what was sent, and managedFields say that we wrote it: our entry is newer than it was in the
   base, or (their times are whole seconds) newer than all others', which stand as they did;
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


@dataclass(frozen=True, slots=True)
class Landing:
    """The proofs that one manager has: `identities` per list in status, and its `field_manager`."""

    identities: Mapping[str, Sequence[str]]
    field_manager: str

    def landed(
        self,
        base: Object,
        sent: Mapping[str, Any],
        fresh: Object,
        *,
        equal: bool,
        repeatable: bool,
        proof: bool | None,
    ) -> bool:
        """Whether the status `sent`, built on `base`, was stored before `fresh`.

        `equal`: the status of `fresh` is exactly what was sent; `repeatable`: the mutations change nothing in
        what they made; `proof`: what the caller's own one says. False means that it is safe to apply the
        mutations to `fresh`. Raises `OutcomeUnknownError` if nothing proves either.
        """
        if proof is not None:
            return proof
        appended = self._entries(sent) - self._entries(status_of(base))
        if appended:
            return appended <= self._entries(status_of(fresh))
        if equal and self._written_by_us(base, fresh):
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

    def _written_by_us(self, base: Object, fresh: Object) -> bool:
        before, after = self._written_at(base), self._written_at(fresh)
        if before is None or after is None or not after[0]:
            return False
        return after[0] > before[0] or after[0] > after[1] == before[1]

    def _written_at(self, obj: Object) -> tuple[str, str] | None:
        """When we wrote its status last, and when anybody else did; empty if never.

        None if `obj` (a model's dump) does not tell.
        """
        entries = (obj.get("metadata") or {}).get("managedFields")
        if not self.field_manager or not entries:
            return None
        status = [entry for entry in entries if entry.get("subresource") == "status"]
        ours = [str(entry.get("time") or "") for entry in status if entry.get("manager") == self.field_manager]
        others = [str(entry.get("time") or "") for entry in status if entry.get("manager") != self.field_manager]
        return max(ours, default=""), max(others, default="")
