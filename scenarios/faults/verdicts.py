"""What must hold of objects at the end of a scene, whatever the service."""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable

from kubernaut_testing.invariants import assert_invariants
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.waiting import eventually
from scenarios.faults.site import FaultSite

__all__ = ["all_ended", "assert_cost", "assert_done_once", "assert_only_told_twice", "codes"]


def codes(site: FaultSite, ledger: RequestLedger, name: str) -> list[int]:
    """The API server's answers to the operator's status writes."""
    return [entry.code for entry in site.requests(ledger, name) if entry.verb == "patch"]


def all_ended(site: FaultSite, names: Collection[str]) -> bool:
    """Whether all of them have ended, by one look."""
    phases = {found["metadata"]["name"]: (found.get("status") or {}).get("phase") for found in site.objects()}
    return all(phases.get(name) in site.terminal for name in names)


def assert_done_once(site: FaultSite, ledger: RequestLedger, *names: str, lost: Collection[Hashable] = ()) -> None:
    """Each has come to its good end, all invariants hold, and each effect took place once; `lost` may be missing."""
    for name in names:
        assert site.phase(name) == site.goal, name
        settle_effects(site, name, lost=lost)  # waited for only if something is missing
        assert_invariants(ledger, site.ref(name), site.contract, effects=site.effects(name), lost=lost)


def assert_only_told_twice(
    site: FaultSite, ledger: RequestLedger, names: Collection[str], *, may_lose: int = 0
) -> set[str]:
    """Each has come to its good end; what took place twice, not more often, was told as unknown; all invariants hold.

    Of `may_lose` objects, effects may be missing that follow a write. Returns those of which some are.
    """
    losers = set()
    settled = time.monotonic() + 15
    for name in names:
        assert site.phase(name) == site.goal, name
        lost = settle_effects(site, name, timeout=settled - time.monotonic())
        effects = site.effects(name)
        assert max(effects.count(effect) for effect in effects) <= 2, effects
        twice = {effect for effect in effects if effects.count(effect) > 1}
        _wait_until_told(site, name, twice)
        if lost and site.effects_follow:
            losers.add(name)
        allowed = lost if len(losers) <= may_lose else ()
        unknown = site.told_unknown(name)
        assert_invariants(ledger, site.ref(name), site.contract, effects=effects, unknown=unknown, lost=allowed)
        assert tuple(ledger.phases(site.ref(name))) == site.life, "the phases of an undisturbed life"
    return losers


def assert_cost(site: FaultSite, ledger: RequestLedger, *names: str) -> None:
    """Each has cost the writes of an undisturbed life, and no other request on the object."""
    for name in names:
        ledger.assert_requests(site.ref(name), {"patch/status": site.writes}, user_agent=site.program, only=True)


def _wait_until_told(site: FaultSite, name: str, twice: set[Hashable]) -> None:
    eventually(
        lambda: site.told_unknown(name) >= twice,
        message=lambda: f"{name}: {twice} told as unknown; told is {site.told_unknown(name)}",
    )


def settle_effects(
    site: FaultSite, name: str, *, lost: Collection[Hashable] = (), timeout: float = 15
) -> set[Hashable]:
    """Wait for the effects that follow the last write; returns those that are missing beside `lost` ones."""
    deadline = time.monotonic() + timeout
    while True:
        late = time.monotonic() > deadline
        claimed = {one for one, succeeded in site.contract.claimed(site.status(name)).items() if succeeded}
        missing = claimed - set(site.effects(name)) - set(lost)
        if late or not missing or not site.effects_follow:
            return missing
        time.sleep(0.1)
