"""The routing in force: replaced as a whole, and only by a file that is right in every part.

The last good table stays when a new file is wrong; a file without content changes nothing. Passes that have begun go
on with the table that they asked.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kubernaut_notification.delivery.credentials import CredentialStore
from kubernaut_notification.routing.config import DEFAULT_CONFIG, RoutingError, load_routing
from kubernaut_notification.routing.router import Router


class RoutingTable:
    """Holds the current `Router`. `on_change` is told of each new one, after the swap.

    With `credentials`, a file that refers to a credential which is not there is refused.
    """

    def __init__(
        self,
        credentials: CredentialStore | None = None,
        on_change: Callable[[Router], None] = lambda router: None,
    ) -> None:
        self.router = Router(DEFAULT_CONFIG)
        self._credentials = credentials
        self._on_change = on_change

    def load(self, text: str, source: str) -> bool:
        """Put the routing file `text` in force; returns False, and changes nothing, for a file without content.

        Raises `RoutingError` with every problem, and keeps the table that was in force.
        """
        if not text.strip():
            return False
        config = load_routing(text, source)
        if missing := self._missing(config.credential_refs()):
            folder = self._credentials.folder if self._credentials else ""
            raise RoutingError(
                [
                    f"cannot load routing file {source}: no credential in {folder} for credentialRef "
                    f"{', '.join(missing)}; add a file of that name or correct the reference"
                ]
            )
        self.router = Router(config)
        self._on_change(self.router)
        return True

    def load_file(self, path: Path) -> bool:
        """As `load`, from a file. Raises `RoutingError` also if it cannot be read."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise RoutingError(
                [f"cannot read routing file {path}: {reason}; set ROUTING_CONFIG_PATH to the right one"]
            ) from None
        return self.load(text, str(path))

    def _missing(self, references: list[str]) -> list[str]:
        return self._credentials.missing(references) if self._credentials is not None else []
