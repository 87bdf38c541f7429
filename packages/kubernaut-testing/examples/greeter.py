"""Somebody's kopf operator: it answers a Greeting with a message in its status."""

import kopf


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: object) -> None:
    settings.posting.enabled = False
    settings.scanning.disabled = True  # so it needs no rights on CRDs and namespaces


@kopf.on.event("example.com", "v1", "greetings")
def greet(spec: kopf.Spec, status: kopf.Status, patch: kopf.Patch, event: kopf.RawEvent, **_: object) -> None:
    message = f"Hello, {spec.get('name', 'nobody')}!"
    if event["type"] != "DELETED" and status.get("message") != message:
        patch.status["phase"] = "Greeted"
        patch.status["message"] = message
