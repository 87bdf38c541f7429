"""What tests ask of the objects that a chart renders: there is one of each kind, whatever it is called."""

from __future__ import annotations

from typing import Any

import yaml

from .services import Charted, Objects


def only(objects: Objects, kind: str) -> dict[str, Any]:
    """The one object of a kind."""
    (found,) = [thing for (each, _), thing in objects.items() if each == kind]
    return found


def pod_spec(objects: Objects) -> dict[str, Any]:
    """The spec of the Deployment's pods."""
    spec: dict[str, Any] = only(objects, "Deployment")["spec"]["template"]["spec"]
    return spec


def container_of(objects: Objects) -> dict[str, Any]:
    """The container of the Deployment's pods."""
    (container,) = pod_spec(objects)["containers"]
    found: dict[str, Any] = container
    return found


def mounts_of(objects: Objects) -> dict[str, str]:
    """Where each volume is mounted."""
    return {mount["name"]: mount["mountPath"] for mount in container_of(objects)["volumeMounts"]}


def volumes_of(objects: Objects) -> dict[str, dict[str, Any]]:
    """The volumes of the Deployment's pods, by name."""
    return {volume["name"]: volume for volume in pod_spec(objects)["volumes"]}


def config_text(service: Charted, objects: Objects) -> str:
    """The config file."""
    text: str = objects["ConfigMap", service.config_map]["data"]["config.yaml"]
    return text


def config_of(service: Charted, objects: Objects) -> dict[str, Any]:
    """The content of the config file."""
    content: dict[str, Any] = yaml.safe_load(config_text(service, objects))
    return content


def followed_text(service: Charted, objects: Objects, volume: str) -> str:
    """The text of a file that is followed."""
    name, key, _ = service.followed[volume]
    text: str = objects["ConfigMap", name]["data"][key]
    return text


def egress(objects: Objects) -> list[set[int]]:
    """The ports of each rule of the NetworkPolicy for what goes out."""
    return [{port["port"] for port in rule["ports"]} for rule in only(objects, "NetworkPolicy")["spec"]["egress"]]
