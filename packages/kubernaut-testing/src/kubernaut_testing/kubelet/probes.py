"""Probes: one check, and the counting that turns checks into a verdict."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp

__all__ = ["Execute", "check", "verdicts"]

Execute = Callable[[Sequence[str]], Awaitable[tuple[int, str]]]
"""Runs a command in the container: its exit code and output."""


async def check(probe: Mapping[str, Any], container: Mapping[str, Any], address: str, execute: Execute) -> str:
    """One check: what went wrong, or nothing. Never raises.

    Args:
        probe: its spec.
        container: the container's spec, for named ports.
        address: the pod's.
        execute: for ``exec``.
    """
    seconds = float(probe.get("timeoutSeconds", 1))
    try:
        async with asyncio.timeout(seconds):
            if "httpGet" in probe:
                return await _http(probe["httpGet"], container, address)
            if "tcpSocket" in probe:
                host = probe["tcpSocket"].get("host") or address
                _, writer = await asyncio.open_connection(host, _port(probe["tcpSocket"]["port"], container))
                writer.close()
                return ""
            if "exec" in probe:
                code, output = await execute(probe["exec"].get("command") or [])
                return "" if code == 0 else output.strip() or f"exit code {code}"
            return f"{', '.join(set(probe) & {'grpc'}) or 'this'} probe is not emulated here"
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except (OSError, aiohttp.ClientError, KeyError, ValueError) as error:
        return str(error) or repr(error)


async def verdicts(
    probe: Mapping[str, Any], ask: Callable[[], Awaitable[str]], *, speedup: float = 1.0
) -> AsyncIterator[tuple[bool, str]]:
    """The verdicts of a probe, one per check once a threshold is reached: (passed, last failure).

    Nothing comes while the checks disagree with the last verdict but not often enough.
    """
    await asyncio.sleep(float(probe.get("initialDelaySeconds", 0)) / speedup)
    needed = {True: int(probe.get("successThreshold", 1)), False: int(probe.get("failureThreshold", 3))}
    run, last = 0, True
    while True:
        failure = await ask()
        passed = not failure
        run = run + 1 if passed is last else 1
        last = passed
        if run >= needed[passed]:
            yield passed, failure
        await asyncio.sleep(float(probe.get("periodSeconds", 10)) / speedup)


async def _http(get: Mapping[str, Any], container: Mapping[str, Any], address: str) -> str:
    scheme = str(get.get("scheme", "HTTP")).lower()
    host = get.get("host") or address
    url = f"{scheme}://{host}:{_port(get['port'], container)}/{str(get.get('path', '/')).lstrip('/')}"
    headers = {item["name"]: item["value"] for item in get.get("httpHeaders") or []}
    async with (
        aiohttp.ClientSession(headers={"User-Agent": "kube-probe/local", **headers}) as session,
        session.get(url, ssl=False, allow_redirects=False) as response,
    ):
        if 200 <= response.status < 400:
            return ""
        return f"HTTP probe failed with statuscode: {response.status}"


def _port(port: int | str, container: Mapping[str, Any]) -> int:
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for declared in container.get("ports") or []:
        if declared.get("name") == port:
            return int(declared["containerPort"])
    raise ValueError(f"couldn't find port {port!r} in container {container['name']!r}")
