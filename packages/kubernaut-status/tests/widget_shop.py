"""A widget shop on the real API server: what the tests of this package share."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubernaut_status import ObjectKey, PhaseMachine, Request, Resource, StatusClient, StatusManager
from kubernaut_status.aiohttp_client import AiohttpClient
from kubernaut_status.wire import get_object
from kubernaut_testing.controlplane import ControlPlane
from kubernaut_testing.ledger import RequestLedger
from kubernaut_testing.proxy import After, Before, FaultProxy, Rule, Status
from kubernaut_testing.rest import ApiError

EXAMPLES = Path(__file__).parents[1] / "examples"
WIDGETS = Resource("paint.example.com", "v1", "widgets", "Widget")
PHASES = PhaseMachine(
    {"": {"Pending"}, "Pending": {"Painting"}, "Painting": {"Done", "Failed"}}, terminal_updates={"message"}
)
IDENTITIES = {"attempts": ("channel", "attempt")}
AGENT = "widget-painter/1.0"

Change = Callable[[dict[str, Any]], None]


def set_status(**fields: Any) -> Change:
    """A change that sets these status fields."""

    def change(fresh: dict[str, Any]) -> None:
        fresh.setdefault("status", {}).update(fields)

    return change


def attempt(channel: str, number: int) -> Change:
    """A change that appends one attempt, unless it is there, and counts again."""

    def change(fresh: dict[str, Any]) -> None:
        status = fresh.setdefault("status", {})
        attempts = status.setdefault("attempts", [])
        if not any((each["channel"], each["attempt"]) == (channel, number) for each in attempts):
            attempts.append({"channel": channel, "attempt": number, "status": "success"})
        status["totalAttempts"] = len(attempts)

    return change


class Shop:
    """Widgets in one namespace: an administrator's hands, the client under test, and the ledger."""

    def __init__(
        self, control_plane: ControlPlane, namespace: str, ledger: RequestLedger, client: AiohttpClient
    ) -> None:
        self.control_plane = control_plane
        self.namespace = namespace
        self.ledger = ledger
        self.client = client

    @property
    def environment(self) -> dict[str, str]:
        """What an example or a process needs to reach the server."""
        plane = self.control_plane
        return {"API_SERVER": plane.url, "API_TOKEN": plane.admin_token, "API_CA_FILE": str(plane.ca_file)}

    @property
    def tls(self) -> ssl.SSLContext:
        """Trust in the server."""
        return ssl.create_default_context(cafile=str(self.control_plane.ca_file))

    def read_request(self, name: str) -> Request:
        """A GET of a widget."""
        return get_object(WIDGETS, ObjectKey(self.namespace, name))

    def manager(self, *, client: StatusClient | None = None, **options: Any) -> StatusManager:
        """A manager with the test's client, phases and identities, unless told otherwise."""
        return StatusManager(client or self.client, WIDGETS, **{"phases": PHASES, "identities": IDENTITIES, **options})

    def create(self, name: str, **status: Any) -> dict[str, Any]:
        """A new widget, with a status if one is given."""
        manifest = {
            "apiVersion": "paint.example.com/v1",
            "kind": "Widget",
            "metadata": {"namespace": self.namespace, "name": name},
            "spec": {"color": "blue"},
        }
        widget = self.control_plane.api.create(manifest)
        return self.foreign_status(name, **status) if status else widget

    def get(self, name: str) -> dict[str, Any]:
        return self.control_plane.api.get("paint.example.com/v1", "Widget", self.namespace, name)

    def delete(self, name: str) -> None:
        self.control_plane.api.delete("paint.example.com/v1", "Widget", self.namespace, name)

    def foreign_status(self, name: str, **status: Any) -> dict[str, Any]:
        """Another writer's unconditional status write."""
        return self.control_plane.api.patch(
            "paint.example.com/v1", "Widget", self.namespace, name, {"status": status}, subresource="status"
        )

    def label(self, name: str, **labels: str) -> dict[str, Any]:
        """Another writer's change outside the status."""
        body = {"metadata": {"labels": labels}}
        return self.control_plane.api.patch("paint.example.com/v1", "Widget", self.namespace, name, body)

    def status_path(self, name: str) -> str:
        return f"/apis/paint.example.com/v1/namespaces/{self.namespace}/widgets/{name}/status"

    def send(
        self, method: str, path: str, body: Any, content_type: str = "application/merge-patch+json"
    ) -> tuple[int, dict[str, Any]]:
        """One raw request: code and body."""
        try:
            return 200, self.control_plane.api.request(method, path, body, content_type=content_type)
        except ApiError as error:
            return error.status, dict(error.body)

    def requests(self, name: str) -> list[str]:
        """What the client under test asked of this widget, in order, as `verb code`."""
        self.ledger.settle()
        entries = self.ledger.entries(namespace=self.namespace, name=name, user_agent=AGENT)
        return [f"{entry.verb} {entry.code}" for entry in entries]


class Faults:
    """A client whose way to the server leads through the fault proxy."""

    def __init__(self, proxy: FaultProxy, client: AiohttpClient) -> None:
        self.proxy = proxy
        self.client = client

    def reset_after_commit(self, *, times: int, then: Callable[[], object] = lambda: None) -> None:
        """The server stores the write, the answer is lost; `then` runs before the client learns of it."""
        self.proxy.add(Rule(After(lambda _: then(), drop=True), verb="patch", first=times))

    def reset_before_forward(self, *, times: int, then: Callable[[], object] = lambda: None) -> None:
        """The request never reaches the server; `then` runs meanwhile."""
        self.proxy.add(Rule(Before(lambda _: then(), drop=True), verb="patch", first=times))

    def answer(self, code: int, *, retry_after: int, times: int) -> None:
        """The server answers `code` before it has looked at the request."""
        self.proxy.add(Rule(Status(code, retry_after=retry_after), verb="patch", first=times))


def client_for(plane: ControlPlane, url: str, ca_file: Path | None) -> AiohttpClient:
    """A client of the test, straight to the server or through the proxy."""
    context = ssl.create_default_context(cafile=str(ca_file))
    return AiohttpClient(url, ssl=context, token=lambda: plane.admin_token, user_agent=AGENT)
