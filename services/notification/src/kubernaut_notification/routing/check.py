"""Where the routing file is, and whether it could be put in force: the part of `--check-config` that is routing's.

The check reads what a start would read (the file, and which credentials are there) and reports what would end the
start, and keys that nothing reads, of which a start only warns. It talks to nobody, so it can run wherever the same
files are mounted.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from kubernaut_notification.config import DEFAULT_ROUTING_PATH, ROUTING_PATH_ENV, NotificationConfig
from kubernaut_notification.delivery.credentials import CredentialStore
from kubernaut_notification.routing.config import DEFAULT_CONFIG, RoutingError, load_routing
from kubernaut_notification.routing.router import Router
from kubernaut_notification.routing.table import RoutingTable
from kubernaut_runtime.checked import Fact, file_fact


def find_routing_file(environ: Mapping[str, str] | None = None) -> Path | None:
    """Return the path of the routing file; None if none is named and there is none at the default path."""
    named = (os.environ if environ is None else environ).get(ROUTING_PATH_ENV)
    if named:
        return Path(named)
    return DEFAULT_ROUTING_PATH if DEFAULT_ROUTING_PATH.exists() else None


def unreadable(path: Path, error: OSError) -> str:
    """Return what to tell of a routing file that cannot be read."""
    return f"cannot read routing file {path}: {error.strerror}; set {ROUTING_PATH_ENV} to the right one"


def check_routing(config: NotificationConfig, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return what is wrong with the routing file and the credentials that it refers to, one line each."""
    path = find_routing_file(environ)
    if path is None:
        return []
    try:
        credentials = CredentialStore(config.delivery.credentials.dir)
        RoutingTable(credentials).load(path.read_bytes(), str(path), strict=True)
    except OSError as error:
        return [unreadable(path, error)]
    except RoutingError as error:
        return list(error.problems)
    return []


def routing_facts(config: NotificationConfig, environ: Mapping[str, str] | None = None) -> list[Fact]:
    """Return which routing file it is and where it leads to, of one that was found right."""
    path = find_routing_file(environ)
    routing, place = DEFAULT_CONFIG, f"no file {DEFAULT_ROUTING_PATH}"
    if path is not None:
        content = path.read_bytes()
        place = file_fact(path, hashlib.sha256(content).hexdigest())
        if text := content.decode("utf-8-sig").strip():
            routing = load_routing(text, str(path))
    channels = Counter({entry.key: entry.type for entry in Router(routing).entries()}.values())
    found = [("routing", place), ("channels", ", ".join(f"{kind} {count}" for kind, count in channels.items()))]
    if references := routing.credential_refs():
        folder = config.delivery.credentials.dir
        found.append(("credentials", f"{folder}: {', '.join(sorted(set(references)))}"))
    return found
