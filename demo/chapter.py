"""What a chapter of the demo is: one service's samples, its operators side by side, and what must come of it.

A service joins with a module in `chapters/` whose class says what is particular about it; starting, following, counting
and the verdict are the same for all. There are two operators of each service, one in atomic and one in sequential mode,
each in the namespace of its mode, so that whatever is counted belongs to one of them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import yaml

from demo.cases import MODES, Case
from demo.following import Follower, Watched
from demo.ground import DemoError, Ground
from demo.screen import Screen
from kubernaut_testing.rest import ApiError
from kubernaut_testing.site import OperatorSite

__all__ = ["SAMPLES", "Chapter", "Show"]

SAMPLES = Path(__file__).with_name("samples")
"""The folder of the sample manifests: `<service>/<case>.yaml`."""

PATIENCE = 45.0
"""Seconds until which samples that were applied together must have ended."""

READY_WITHIN = 90.0
"""Seconds until which bare operators must be ready; helm has a time of its own."""

Show = Callable[[Sequence[Case]], None]
"""Applies cases in both modes and shows how they change, until all have ended."""


S = TypeVar("S", bound=OperatorSite)


class Chapter(ABC, Generic[S]):
    """One service's part.

    Class attributes that a chapter gives: `service` (its name, also that of the chart and of the samples' folder),
    `operator` (the class of its sites), `noun` for its objects and `short` as kubectl knows them, `title` and `note` of
    its headline, `cases`, `images` for the local kubelet beside that of the chart, and its line of the verdict as
    `proved`. Operators of one namespace need ServiceAccounts of different names.
    """

    service: ClassVar[str]
    operator: ClassVar[type[OperatorSite]]
    noun: ClassVar[str]
    short: ClassVar[str]
    title: ClassVar[str]
    note: ClassVar[str] = ""
    proved: ClassVar[str]
    cases: ClassVar[Sequence[Case]]
    images: ClassVar[Mapping[str, Sequence[str]]] = {}

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.sites: dict[str, S] = {}
        self.rejections: dict[tuple[str, str], str] = {}
        self.follower: Follower
        self.begun = 0.0

    # What a chapter says ---------------------------------------------------------------------------------

    def prepare(self, screen: Screen, stack: ExitStack) -> None:
        """Make what the operators and the samples need; `stack` is left at the end of the demo."""

    @abstractmethod
    def site(self, mode: str, namespace: str, folder: Path) -> S:
        """The operator in this mode, not started: installed by helm where the ground has a kubelet, else bare."""

    def play(self, screen: Screen, show: Show) -> None:
        """Show the cases, and tell what came of them."""
        show(self.cases)

    def manifest(self, case: Case) -> dict[str, Any]:
        """What is applied for a case, without a namespace."""
        loaded: dict[str, Any] = yaml.safe_load(self.sample(case).read_text(encoding="utf-8"))
        return loaded

    def reads(self, case: Case, mode: str) -> int:
        """Reads of other objects for the sake of this one, by the audit log."""
        return 0

    def unlike(self, case: Case, mode: str) -> Iterator[str]:
        """What is not as it must be with an accepted sample, beside its phase and its requests: a sentence each."""
        yield from ()

    def unlike_rejected(self, case: Case, mode: str) -> Iterator[str]:
        """The same of a sample that the API server has rejected."""
        yield from ()

    def notes(self) -> list[str]:
        """Paragraphs below the table of requests."""
        return []

    def look_around(self) -> tuple[list[str], list[tuple[str, Path]]]:
        """Commands for who wants to see more, without `kubectl`; and files by what they hold."""
        return [f"get {self.short} -n {self.sites[MODES[0]].namespace}"], []

    # What all do alike -----------------------------------------------------------------------------------

    def sample(self, case: Case) -> Path:
        """The file of a case."""
        return SAMPLES / self.service / f"{case.name}.yaml"

    def make_sites(self, stack: ExitStack) -> None:
        """Make both sites and begin to start their operators."""
        for mode in MODES:
            folder = self.ground.folder / mode / self.service
            folder.mkdir(parents=True, exist_ok=True)
            self.sites[mode] = site = self.site(mode, self.ground.namespace(mode), folder)
            stack.callback(site.deployment.process.close)
            site.deployment.process.start(wait=False)

    def wait_ready(self) -> None:
        """Wait until both operators are ready. Raises DemoError with what one of them, or helm, says."""
        deadline = time.monotonic() + READY_WITHIN
        for mode, site in self.sites.items():
            try:
                self._wait_ready(site, deadline)
            except AssertionError as error:
                raise DemoError(f"cannot start the {self.service} operator in {mode} mode: {error}") from None

    def _wait_ready(self, site: S, deadline: float) -> None:
        """All operators start at the same time: on a busy machine that takes longer than one alone may."""
        process = site.deployment.process
        while True:
            try:
                return process.wait_ready()
            except AssertionError:
                if self.ground.kubelet or not process.running or time.monotonic() > deadline:
                    raise

    def watched(self, mode: str) -> Watched:
        """The chapter's objects in this mode."""
        return Watched(self.operator.api_version, self.operator.plural, self.ground.namespace(mode))

    def row(self, case: Case, mode: str) -> dict[str, str]:
        """What kubectl showed of the case last, by column."""
        return self.follower.row(self.watched(mode), case.name)

    def phase(self, case: Case, mode: str) -> str:
        """The phase of the case that was seen last, "" if there was none."""
        return self.row(case, mode).get("Phase", "")

    def apply(self, cases: Sequence[Case]) -> None:
        """Create every case in both namespaces; what the API server rejects goes to `rejections`."""
        manifests = [self.manifest(case) for case in cases]
        self.begun = time.monotonic()
        for case, manifest in zip(cases, manifests, strict=True):
            for mode, site in self.sites.items():
                metadata = {**manifest["metadata"], "namespace": site.namespace}
                try:
                    self.ground.cluster.api.create({**manifest, "metadata": metadata})
                except ApiError as error:
                    if error.status != 422:
                        raise
                    self.rejections[case.name, mode] = _complaint_of(error)

    def follow(self, cases: Sequence[Case], tick: Callable[[], None]) -> None:
        """Call `tick` until all cases have ended, or the time is up. Raises DemoError if an operator has died."""
        deadline = time.monotonic() + PATIENCE
        while not self._ended(cases) and time.monotonic() < deadline:
            self._check_alive()
            tick()
            time.sleep(0.1)
        tick()

    def _ended(self, cases: Sequence[Case]) -> bool:
        return all(
            self.phase(case, mode) in self.operator.terminal
            for case in cases
            for mode in MODES
            if (case.name, mode) not in self.rejections
        )

    def _check_alive(self) -> None:
        for site in self.sites.values():
            process = site.deployment.process
            if not process.running:
                raise DemoError(
                    f"cannot go on: the {self.service} operator ended with code {process.returncode}; see {process.log}"
                )


def _complaint_of(error: ApiError) -> str:
    """What the API server has against an object, field by field, without remarks on how it validates."""
    causes = (error.body.get("details") or {}).get("causes") or []
    told = [f"{cause['field']}: {cause['message']}" for cause in causes if cause.get("field", "<nil>") != "<nil>"]
    return "; ".join(told) or str(error.body.get("message") or error)
