"""What the benchmarks must know of a service; everything else here is the same for all.

A `Service` is a description, filled in once per service in `services`. Its `stage` sets up one operator for one run;
its `examples` are commits that are counted one at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.loads import Load
from benchmarks.modes import Mode
from kubernaut_status.aiohttp_client import AiohttpClient
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.deployment import OperatorDeployment


class Site(Protocol):
    """One namespace with its operator, as the service's scenarios make it."""

    @property
    def control_plane(self) -> ControlPlane:
        """Where it is."""
        ...

    @property
    def namespace(self) -> str:
        """The operator's namespace, and that of its objects."""
        ...

    @property
    def deployment(self) -> OperatorDeployment:
        """The operator; started by whoever measures."""
        ...

    def phase(self, name: str, /) -> str:
        """The phase of an object, by a GET."""
        ...

    def objects(self) -> list[dict[str, Any]]:
        """All objects, by a LIST."""
        ...


@dataclass(frozen=True)
class Stage:
    """One run's site, and how an object of the load is created in it: by its name, from several threads."""

    site: Site
    create: Callable[[str], object]


Commit = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Example:
    """One commit that is counted alone: `changes` is how many changes of the status it carries.

    `prepare` brings a fresh object, which it creates under the name it is given, to the moment before the commit, all
    in one mode, and returns what makes the commit.
    """

    name: str
    title: str
    changes: int
    prepare: Callable[[ControlPlane, AiohttpClient, Mode, str, str], Awaitable[Commit]]


@dataclass(frozen=True)
class Service:
    """One service: its words, its loads, and how to set it up.

    `program` is its user agent, `plural` its resource, `end` the phase that every object of a load must reach,
    `prefix` that of its lifecycle metrics (`kubernaut_runtime.lifecycle`), `objects` what the page calls its objects.
    `about` is a paragraph of the page, with what each object is; `notes` are further points of what the figures do not
    show. `stage` gets control plane, namespace (which exists), a folder and the config's sections that a run decides.
    """

    name: str
    title: str
    program: str
    plural: str
    end: str
    prefix: str
    objects: str
    about: str
    loads: tuple[Load, ...]
    install: Callable[[ControlPlane], None]
    stage: Callable[[ControlPlane, str, Path, Mapping[str, Any]], AbstractContextManager[Stage]]
    examples: tuple[Example, ...] = ()
    examples_about: str = ""
    notes: str = ""
