"""A program for containers: serves what it sees on its pod's address, and does what it is told."""

import json
import os
import signal
import ssl
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

STATE = {"healthz": 200, "readyz": 200}
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        return type(error).__name__


def write(path: str, text: str = "x") -> str:
    try:
        Path(path).write_text(text)
    except OSError as error:
        return type(error).__name__
    return "ok"


def exists(path: str) -> bool:
    return Path(path).exists()


def become(what: str, code: str) -> None:
    STATE[what] = int(code)


def leave(code: str) -> None:
    os._exit(int(code))


def ask_api(path: str) -> int:
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    request = urllib.request.Request(server + path)
    request.add_header("Authorization", f"Bearer {(ACCOUNT / 'token').read_text()}")
    tls = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    try:
        return int(urllib.request.urlopen(request, context=tls).status)
    except urllib.error.HTTPError as error:
        return error.code


def look() -> dict[str, object]:
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return {
        "env": dict(os.environ),
        "uid": os.getuid(),
        "pid": os.getpid(),
        "processes": [path.name for path in Path("/proc").iterdir() if path.name.isdigit()],
        "capabilities": status["CapEff"],
        "hostname": os.uname().nodename,
        "cwd": str(Path.cwd()),
    }


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        name = url.path.strip("/")
        code, answer = STATE.get(name, 200), None
        if name not in STATE:
            calls = {call.__name__: call for call in (read, write, exists, become, leave, ask_api, look)}
            answer = calls[name](**dict(parse_qsl(url.query)))
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


def stop(*_: object) -> None:
    print("told to stop", flush=True)
    os._exit(0)


signal.signal(signal.SIGTERM, stop)
server = ThreadingHTTPServer((os.environ["KUBERNAUT_BIND_HOST"], 8080), Handler)
print("hello", *sys.argv[1:], flush=True)
server.serve_forever()
