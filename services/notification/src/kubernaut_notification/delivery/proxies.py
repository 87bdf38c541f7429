"""The proxy for an address, as `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` (or their lower-case names) ask for it.

The rules are those of Go programs, since one setting serves all pods of a cluster: a proxy may be given without its
scheme, loopback never goes through one, and `NO_PROXY` takes hosts, domains with all below them, addresses, networks
(`10.0.0.0/8`) and `*`. A proxy's password stands in its URL; it appears in no error text.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from urllib.request import getproxies_environment

from yarl import URL

from kubernaut_notification.delivery.channel import RetryableError


def proxy_for(address: URL) -> URL | None:
    """Return the proxy that leads to `address`, None if the way is direct.

    Raises `RetryableError` if what is set is no proxy: the notification is not to blame, and waits until it is mended.
    """
    settings = getproxies_environment()
    proxy = settings.get(address.scheme)
    if not proxy or not address.host or _is_direct(address, settings):
        return None
    with suppress(ValueError):
        found = URL(proxy if "://" in proxy else f"http://{proxy}")
        if found.scheme in ("http", "https") and found.host:
            return found
    name = f"{address.scheme.upper()}_PROXY"
    raise RetryableError(f"cannot use the proxy in {name}: it is not an http(s) address; correct it", reason="proxy")


def _is_direct(address: URL, settings: dict[str, str]) -> bool:
    host = address.host or ""
    number = None
    with suppress(ValueError):
        number = ipaddress.ip_address(host)
    if host == "localhost" or (number is not None and number.is_loopback):
        return True
    for entry in settings.get("no", "").lower().replace(",", " ").split():
        if number is not None and _holds(entry, number):
            return True
        name, _, port = entry.removeprefix("*.").removeprefix(".").partition(":")
        if entry == "*" or (f".{host}".endswith(f".{name}") and port in ("", str(address.port))):
            return True
    return False


def _holds(entry: str, number: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return number in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
