"""A small operator without kopf, for trying the harness: Pending -> Working -> Done, one effect in Working.

Usage: tiny_operator.py KUBECONFIG NAMESPACE RECEIVER_URL [--forgetful]

The effect is a POST that carries the attempt's identity, so the receiver can tell a repetition. With
``--forgetful`` it invents a new identity on every call and appends what it has sent without looking: the bug
that the crash sweep is there to find.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path
from typing import Any

import yaml

from kubernaut_testing.rest import AdminClient, ApiError

KIND = ("example.com/v1", "widgets")
AGENT = "tiny-operator/1"


def main(kubeconfig: str, namespace: str, receiver: str, forgetful: bool) -> None:
    config = yaml.safe_load(Path(kubeconfig).read_text())
    cluster, token = config["clusters"][0]["cluster"], config["users"][0]["user"]["token"]
    with tempfile.NamedTemporaryFile() as ca:
        ca.write(base64.b64decode(cluster["certificate-authority-data"]))
        ca.flush()
        client = AdminClient(cluster["server"], token, Path(ca.name), user_agent=AGENT)
    print(json.dumps({"msg": "started"}), flush=True)
    while True:
        try:
            for widget in client.list(*KIND, namespace):
                reconcile(client, widget, receiver, forgetful)
        except (ApiError, OSError) as error:
            print(json.dumps({"msg": str(error)}), flush=True)
        time.sleep(0.02)


def reconcile(client: AdminClient, widget: dict[str, Any], receiver: str, forgetful: bool) -> None:
    status = widget.get("status") or {}
    match status.get("phase"):
        case None:
            write(client, widget, {"phase": "Pending"})
        case "Pending":
            write(client, widget, {"phase": "Working"})
        case "Working" if not status.get("attempts"):
            number = uuid.uuid4().hex if forgetful else "1"
            body = json.dumps({"id": f"{widget['metadata']['name']}#{number}"}).encode()
            urllib.request.urlopen(urllib.request.Request(receiver, body), timeout=5)
            write(client, widget, {"attempts": [{"number": number, "status": "success"}], "succeeded": 1})
        case "Working":
            write(client, widget, {"phase": "Done"})


def write(client: AdminClient, widget: dict[str, Any], status: dict[str, Any]) -> None:
    meta = widget["metadata"]
    body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": status}
    client.patch(*KIND, meta["namespace"], meta["name"], body, subresource="status")


if __name__ == "__main__":
    main(*sys.argv[1:4], forgetful="--forgetful" in sys.argv)
