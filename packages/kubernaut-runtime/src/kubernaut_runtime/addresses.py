"""Listening addresses as Go programs write them: ":9090", "127.0.0.1:9090", "[::1]:9090", "0" for off."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

BIND_HOST_ENV = "KUBERNAUT_BIND_HOST"
"""Environment variable with the host for addresses that name none, for example 127.0.0.1 on a developer's machine."""


class BindAddress(NamedTuple):
    """Where a server listens: `host` None means every interface, `port` 0 any free port."""

    host: str | None
    port: int

    def __str__(self) -> str:
        host = self.host or ""
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


def parse_bind_address(text: str, environ: Mapping[str, str] | None = None) -> BindAddress | None:
    """Return where to listen, or None for "0", which turns a server off (as in controller-runtime).

    Raises `ValueError` with what was expected; the caller adds file and key.
    """
    wanted = "must be an address such as :9090 or 127.0.0.1:9090"
    if text == "0":
        return None
    host, colon, port_text = text.rpartition(":")
    if not colon:
        raise ValueError(wanted)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{wanted}; an IPv6 host stands in brackets")
    if not (port_text.isascii() and port_text.isdigit()) or int(port_text) > 65535:
        raise ValueError(f"{wanted}; the port is 0 to 65535")
    if not host:
        host = (os.environ if environ is None else environ).get(BIND_HOST_ENV, "")
    return BindAddress(host or None, int(port_text))


def _checked(text: str) -> str:
    parse_bind_address(text, {})
    return text


BindAddressText = Annotated[str, AfterValidator(_checked)]
"""A config field: the address as written, checked when the file is loaded."""
