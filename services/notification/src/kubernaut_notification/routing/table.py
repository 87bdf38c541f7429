"""The routing in force: replaced as a whole, and only by a file that is right in every part.

The last good table stays when a new file is wrong; a file without content changes nothing. Passes that have begun go
on with the table that they asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from kubernaut_notification.delivery.credentials import CredentialStore
from kubernaut_notification.routing.advice import advice
from kubernaut_notification.routing.config import DEFAULT_CONFIG, RoutingError, load_routing, unknown_keys_of
from kubernaut_notification.routing.router import Router

log = logging.getLogger(__name__)


class RoutingTable:
    """Holds the current `Router`.

    With `credentials`, a file that refers to a credential which is not there is refused.
    """

    def __init__(self, credentials: CredentialStore | None = None) -> None:
        self.router = Router(DEFAULT_CONFIG)
        self._credentials = credentials
        self._follower: Callable[[Router], None] = lambda router: None
        self._refused: tuple[bytes | str, str] | None = None

    def follow(self, follower: Callable[[Router], None]) -> None:
        """Tell `follower` of the router in force, now and after each swap."""
        self._follower = follower
        follower(self.router)

    def load(self, content: bytes | str, source: str, *, strict: bool = False) -> bool:
        """Put a routing file's `content` in force; returns False, and changes nothing, for a file without content.

        What the file says in vain is logged as a warning, one line each; so are keys that nothing reads, which are
        problems if `strict`. Raises `RoutingError` with every problem, and keeps the table that was in force.
        """
        self._refused = None
        try:
            text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        except UnicodeDecodeError:
            raise RoutingError([f"cannot load routing file {source}: it is not UTF-8; save it as UTF-8"]) from None
        if not text.strip():
            return False
        config = load_routing(text, source)
        unknown = unknown_keys_of(text)
        if strict and unknown:
            raise RoutingError([f"cannot load routing file {source}: {line}" for line in unknown])
        if missing := self._missing(config.credential_refs()):
            folder = self._credentials.folder if self._credentials else ""
            self._refused = (content, source)
            raise RoutingError(
                [
                    f"cannot load routing file {source}: no credential in {folder} for credentialRef "
                    f"{', '.join(missing)}; add a file of that name or correct the reference"
                ]
            )
        self.router = Router(config)
        self._follower(self.router)
        for line in [*unknown, *advice(config)]:
            log.warning("routing file %s: %s", source, line)
        return True

    def credentials_changed(self) -> bool:
        """Load the file again that was refused for a missing credential; returns whether it is in force now."""
        if self._refused is not None:
            with suppress(RoutingError):
                return self.load(*self._refused)
        return False

    def _missing(self, references: list[str]) -> list[str]:
        return self._credentials.missing(references) if self._credentials is not None else []
