"""A small operator without kopf, for trying the harness: Pending -> Working -> Done, one effect in Working.

Usage: tiny_operator.py KUBECONFIG NAMESPACE RECEIVER_URL [--forgetful] [--parent] [--careless]

The effect is a POST that carries the attempt's identity, so the receiver can tell a repetition. With
``--forgetful`` it invents a new identity on every call and appends what it has sent without looking: the bug
that the crash sweep is there to find. With ``--parent`` the effect is a child (a ConfigMap) instead, whose name it
derives from the parent's; with ``--careless`` as well, it lets the server choose that name.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from kubernaut_testing.rest import AdminClient, ApiError

KIND = ("example.com/v1", "widgets")
AGENT = "tiny-operator/1"


def main(kubeconfig: str, namespace: str, receiver: str, *flags: str) -> None:
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
                reconcile(client, widget, receiver, flags)
        except (ApiError, OSError) as error:
            print(json.dumps({"msg": str(error)}), flush=True)
        time.sleep(0.02)


def reconcile(client: AdminClient, widget: dict[str, Any], receiver: str, flags: Collection[str]) -> None:
    status = widget.get("status") or {}
    match status.get("phase"):
        case None:
            write(client, widget, {"phase": "Pending"})
        case "Pending":
            write(client, widget, {"phase": "Working"})
        case "Working" if not status.get("attempts") and "--parent" in flags:
            write(client, widget, {"attempts": [{"number": make_child(client, widget, flags), "status": "success"}]})
        case "Working" if not status.get("attempts"):
            number = uuid.uuid4().hex if "--forgetful" in flags else "1"
            body = json.dumps({"id": f"{widget['metadata']['name']}#{number}"}).encode()
            urllib.request.urlopen(urllib.request.Request(receiver, body), timeout=5)
            write(client, widget, {"attempts": [{"number": number, "status": "success"}], "succeeded": 1})
        case "Working":
            write(client, widget, {"phase": "Done"})


def make_child(client: AdminClient, widget: dict[str, Any], flags: Collection[str]) -> str:
    """The child's name; one that is there already is taken for ours if this very object owns it."""
    meta = widget["metadata"]
    owner = {"apiVersion": KIND[0], "kind": "Widget", "name": meta["name"], "uid": meta["uid"]}
    named = {"generateName": f"{meta['name']}-"} if "--careless" in flags else {"name": f"{meta['name']}-child"}
    child_meta = {**named, "namespace": meta["namespace"], "ownerReferences": [owner]}
    try:
        made = client.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": child_meta})
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        made = client.get("v1", "ConfigMap", meta["namespace"], named["name"])
        assert made["metadata"]["ownerReferences"][0]["uid"] == meta["uid"], "somebody else's"
    return str(made["metadata"]["name"])


def write(client: AdminClient, widget: dict[str, Any], status: dict[str, Any]) -> None:
    meta = widget["metadata"]
    body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": status}
    client.patch(*KIND, meta["namespace"], meta["name"], body, subresource="status")


if __name__ == "__main__":
    main(*sys.argv[1:])
