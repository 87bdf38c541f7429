"""An operator whose roles are changed under it: what it is refused for is read from the API server's audit log."""

from __future__ import annotations

from typing import Any

from kubernaut_testing import eventually
from kubernaut_testing.helm import Helm

from .installed import Installed

Right = tuple[str, str]
"""A verb and a resource, with its subresource."""


def rights(rules: list[dict[str, Any]]) -> set[Right]:
    """The rights that rules grant."""
    return {(verb, resource) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}


def without(rules: list[dict[str, Any]], missing: set[Right]) -> list[dict[str, Any]]:
    """Rules with one right each, `missing` left out."""
    return [
        {**rule, "resources": [resource], "verbs": [verb]}
        for rule in rules
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if (verb, resource) not in missing
    ]


class Trial:
    """A release that brings no roles; those of its chart are granted here, without some rights.

    `rights` are all that the chart grants, `refused` are those for which the operator was refused so far.
    """

    def __init__(self, site: Installed) -> None:
        self.site = site
        rendered = Helm().template("n", site.service.chart, values=dict(site.service.needed))
        self._rules = {item["kind"]: item["rules"] for item in rendered if item["kind"] in ("Role", "ClusterRole")}
        self.rights = {right for rules in self._rules.values() for right in rights(rules)}
        assert len(self.rights) == sum(len(rights(rules)) for rules in self._rules.values())
        self.refused: set[Right] = set()
        self._ledger = site.cluster.control_plane.ledger().fresh()

    def install(self, *values: dict[str, Any]) -> None:
        """Install the release, not waiting for it: it has not what it needs."""
        account = {"create": False, "name": self.site.service.controller}
        self.site.install({"rbac": {"create": False}, "serviceAccount": account}, *values, wait=False)

    def grant_all_but(self, *missing: Right) -> None:
        """Give the operator its roles without these rights."""
        assert set(missing) <= self.rights
        self.site.cluster.control_plane.service_account(
            self.site.namespace,
            self.site.service.controller,
            rules=without(self._rules["Role"], set(missing)),
            cluster_rules=without(self._rules.get("ClusterRole", []), set(missing)),
        )

    def wait_refused(self, *expected: Right) -> None:
        """Wait until the operator was refused for these rights."""

        def seen() -> bool:
            self._ledger.settle()
            for entry in self._ledger.entries(user=self.site.account, code=403):
                self.refused.add((entry.verb, "/".join(filter(None, (entry.resource, entry.subresource)))))
            return set(expected) <= self.refused

        eventually(seen, timeout=80, interval=0.2, message=lambda: f"refusals for {set(expected) - self.refused}")

    def without_rights(self, *missing: Right) -> None:
        """`grant_all_but` these, and `wait_refused` for them."""
        self.grant_all_but(*missing)
        self.wait_refused(*missing)
