"""Which phase may follow which, as data.

The machine is asked before a write is sent, so an invalid transition costs no request and is never
stored. Staying in a phase is no transition. A terminal phase has no way out; fields that may still
change under it (retention, tracking) are declared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .errors import InvalidTransitionError


class PhaseMachine:
    """A transition table.

    `transitions` maps each phase to those that may follow; the empty string is "no phase yet".
    `terminal` phases default to those without a successor. `field` is the name of the phase in
    status. `terminal_updates` names the status fields that may change while a terminal phase stays.

    Raises ValueError if the table names a phase that it does not define, or lets one leave a terminal phase.
    """

    def __init__(
        self,
        transitions: Mapping[str, Collection[str]],
        *,
        terminal: Collection[str] | None = None,
        field: str = "phase",
        terminal_updates: Collection[str] = (),
    ) -> None:
        self.field = field
        self.terminal_updates = frozenset(terminal_updates)
        followers = {follower for phases in transitions.values() for follower in phases}
        self.transitions = {phase: frozenset(transitions.get(phase, ())) for phase in {*transitions, *followers}}
        without_way_out = {phase for phase, phases in self.transitions.items() if not phases}
        self.terminal = frozenset(without_way_out if terminal is None else terminal)
        if unknown := self.terminal - self.transitions.keys():
            raise ValueError(f"cannot build the phase machine: unknown terminal phases {sorted(unknown)}")
        if leaving := self.terminal - without_way_out:
            raise ValueError(f"cannot build the phase machine: terminal phases with successors {sorted(leaving)}")

    def phase_of(self, status: Mapping[str, Any]) -> str:
        """The phase in `status`, empty if it has none yet."""
        return str(status.get(self.field) or "")

    def is_terminal(self, phase: str) -> bool:
        """Whether nothing may follow `phase`."""
        return phase in self.terminal

    def check(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Raise `InvalidTransitionError` unless the status may go from `before` to `after`."""
        current, wanted = self.phase_of(before), self.phase_of(after)
        if current != wanted:
            if wanted not in self.transitions.get(current, frozenset()):
                raise InvalidTransitionError(current, wanted)
        elif current in self.terminal and (others := self._frozen_changes(before, after)):
            raise InvalidTransitionError(
                current, wanted, detail=f"{', '.join(others)} may not change once the phase is terminal"
            )

    def allows(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        """Whether `check` would pass."""
        try:
            self.check(before, after)
        except InvalidTransitionError:
            return False
        return True

    def _frozen_changes(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        return sorted(changed - self.terminal_updates)
