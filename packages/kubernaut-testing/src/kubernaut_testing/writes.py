"""Which requests are the writes of one object: what the sweeps count, and where they put their faults.

The writes of an object are those to its own status and, for an operator that makes children, the creation of each
child: a crash between a child's creation and the status write that tells of it is a point of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from kubernaut_testing.proxy import Action, FaultProxy, ProxiedRequest, Rule

__all__ = ["Belongs", "Writes"]

Belongs = Callable[[str, str], bool]
"""Whether the child of the first name belongs to the object of the second."""


def _by_prefix(child: str, name: str) -> bool:
    return child == name or child.startswith(f"{name}-")


class Writes:
    """What counts as a write of an object.

    Args:
        resource: plural of the object's kind.
        verbs: what counts as a write to the object itself.
        subresource: "status"; "" the object without its subresources; None all of it.
        children: plurals of kinds whose creation counts as a write of the object that they belong to.
        belongs: tells a child's object by their names; by default a child is named ``<name>`` or ``<name>-...``.
    """

    def __init__(
        self,
        resource: str,
        *,
        verbs: Iterable[str] = ("patch", "update"),
        subresource: str | None = "status",
        children: Sequence[str] = (),
        belongs: Belongs = _by_prefix,
    ) -> None:
        self.resource = resource
        self._verbs, self._subresource = frozenset(verbs), subresource
        self._children, self._belongs = frozenset(children), belongs

    def of(self, request: ProxiedRequest, name: str) -> bool:
        """Whether ``request`` is a write of the object ``name``."""
        if request.resource in self._children and request.verb == "create":
            return self._belongs(request.object_name, name)
        return (
            request.resource == self.resource
            and request.verb in self._verbs
            and request.name == name
            and self._subresource in (None, request.subresource)
        )

    def count(self, proxy: FaultProxy, name: str) -> int:
        """How many writes of the object have come through the proxy so far."""
        return sum(self.of(request, name) for request in proxy.requests)

    def rule(self, action: Action, name: str, index: int) -> Rule:
        """A rule that applies ``action`` to the ``index``-th write (from 1) of the object ``name``."""
        return Rule(action, when=lambda request: self.of(request, name), nth=index)
