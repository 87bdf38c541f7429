"""Ports are chosen once: not by two processes, not where somebody listens, not where the system chooses."""

import socket
import subprocess
import sys
from pathlib import Path

from kubernaut_testing import ports
from kubernaut_testing.ports import free_port


def test_ports_are_different_free_and_not_among_those_that_the_system_chooses():
    found = [free_port() for _ in range(50)]
    assert len(set(found)) == len(found)
    for port in found:
        with socket.create_server(("127.0.0.1", port)):
            pass
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert max(found) < lowest


def test_a_port_is_of_one_process_until_that_ends(monkeypatch):
    code = "from kubernaut_testing.ports import free_port; print(free_port(), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        taken = int(other.stdout.readline())
        monkeypatch.setattr(ports, "PORTS", range(taken, taken + 20))
        assert taken not in {free_port() for _ in range(5)}
        other.stdin.close()
        other.wait()
    monkeypatch.setattr(ports, "PORTS", range(taken, taken + 1))
    assert free_port() == taken


def test_where_somebody_listens_is_not_free(monkeypatch):
    with socket.create_server(("127.0.0.1", free_port())) as server:
        busy = server.getsockname()[1]
        monkeypatch.setattr(ports, "_taken", set())
        monkeypatch.setattr(ports, "PORTS", range(busy, busy + 20))
        assert busy not in {free_port() for _ in range(5)}
