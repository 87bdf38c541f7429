"""What the charts repeat of the rest of the repository, written by `python -m charts.generate`, compared by `--check`.

* `charts/<service>/charts/kubernaut-common`: a copy of the library chart, so that a clone, or the chart's folder alone,
  installs without `helm dependency build`;
* `charts/<service>/files/crds`: the CRDs that the models generate;
* `charts/<service>/files/role.yaml`: a copy of the service's `deploy/role.yaml`, from which the roles are rendered;
* `charts/<service>/files/rules.yaml` and `dashboard.json`: alerts and dashboard, from `monitoring`;
* in `values.yaml`, what stands between the marks of the values that all charts have: `kubernaut-common/values/*.yaml`;
* `values.schema.json`: the schema of those values (`kubernaut-common/values/schema.json`), that of the chart's own
  (`own.schema.json`), and `definitions.config`: what the service's config file may hold, from its pydantic model, so
  that what the program would refuse is refused before anything is installed;
* the table of values in `README.md`, from the comments in `values.yaml` that begin with `--`.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from monitoring.files import files_of
from pydantic import BaseModel

from kubernaut_api.crds import crd_path
from kubernaut_notification.config import NotificationConfig
from kubernaut_runtime.sections import ControllerConfig
from kubernaut_signalprocessing.config import SignalProcessingConfig

from .schema import schema_of

CHARTS = Path(__file__).parent
LIBRARY = CHARTS / "kubernaut-common"
SHARED_VALUES = "values"
"""The folder of the library that charts are generated from, which is not copied into them."""
SERVICES_FOLDER = CHARTS.parent / "services"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"


@dataclass(frozen=True)
class Service:
    """One installable chart: its folder's name, the model of its config file, the plurals of its CRDs.

    `metrics_service` is the name of the Service that is scraped.
    """

    name: str
    config: type[ControllerConfig]
    crds: tuple[str, ...]
    metrics_service: str

    @property
    def folder(self) -> Path:
        """The chart."""
        return CHARTS / self.name

    @property
    def role(self) -> Path:
        """What the controller may do, as the service ships it."""
        return SERVICES_FOLDER / self.name / "deploy" / "role.yaml"


SERVICES = (
    Service("notification", NotificationConfig, ("notificationrequests",), "notification-metrics"),
    Service("signalprocessing", SignalProcessingConfig, ("signalprocessings",), "signalprocessing-controller-metrics"),
)


def generated(service: Service) -> dict[Path, str]:
    """Return every generated file of a chart with the content that it should have."""
    files = {}
    for path in sorted(LIBRARY.rglob("*")):
        if path.is_file() and path.parent.name != SHARED_VALUES:
            files[service.folder / "charts" / LIBRARY.name / path.relative_to(LIBRARY)] = path.read_text()
    for plural in service.crds:
        source = crd_path(plural)
        files[service.folder / "files" / "crds" / source.name] = source.read_text()
    files[service.folder / "files" / "role.yaml"] = service.role.read_text()
    for name, content in files_of(service.name).items():
        files[service.folder / "files" / name] = content
    values = service.folder / "values.yaml"
    files[values] = with_shared_values(values.read_text(), service)
    shared, own = (
        json.loads(path.read_text())
        for path in (LIBRARY / SHARED_VALUES / "schema.json", service.folder / "own.schema.json")
    )
    files[service.folder / "values.schema.json"] = schema_of_values(shared, own, service.config)
    readme = service.folder / "README.md"
    files[readme] = with_table(readme.read_text(), files[values])
    return files


def strangers(service: Service) -> list[Path]:
    """Return files in the generated folders that nothing generates any more."""
    known = generated(service)
    folders = (service.folder / "charts", service.folder / "files" / "crds")
    return [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file() and path not in known]


# The values that all charts have --------------------------------------------------------------------------

_SHARED = re.compile(r"^# shared (\w+): begin\n.*?^# shared \1: end\n", re.MULTILINE | re.DOTALL)


def with_shared_values(text: str, service: Service) -> str:
    """Return the text of a values.yaml with the shared values between their marks.

    Raises ValueError unless each file of shared values has its marks, once.
    """
    known = {path.stem: path.read_text() for path in sorted((LIBRARY / SHARED_VALUES).glob("*.yaml"))}
    if sorted(_SHARED.findall(text)) != sorted(known):
        raise ValueError(
            f"cannot write {service.name}/values.yaml: it needs marks for each of {', '.join(known)}, once"
        )

    def block(found: re.Match[str]) -> str:
        begin, end = (f"# shared {found[1]}: {word}\n" for word in ("begin", "end"))
        content = (
            known[found[1]].replace("<service>", service.name).replace("<metrics-service>", service.metrics_service)
        )
        return begin + content + end

    return _SHARED.sub(block, text)


# The schema of the values ---------------------------------------------------------------------------------


def schema_of_values(shared: Mapping[str, Any], own: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Return the text of a values schema: what all charts have, what this one adds, and `definitions.config`."""
    document = laid_over(shared, own)
    document["definitions"]["config"] = schema_of(model)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return two schemas as one: objects are merged, lists joined; of two other values, the upper one is taken."""
    whole = dict(below)
    for key, value in above.items():
        if isinstance(value, Mapping):
            whole[key] = laid_over(whole.get(key, {}), value)
        elif isinstance(value, list):
            whole[key] = [*whole.get(key, []), *value]
        else:
            whole[key] = value
    return whole


# The table of values --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Value:
    """One documented value: its dotted key, its default, and its comment."""

    key: str
    default: Any
    text: str


_KEY = re.compile(r"^( *)([A-Za-z][\w]*):(.*)$")


def documented(text: str) -> list[Value]:
    """Return the values of a values.yaml that have a comment beginning with `--`, in their order."""
    defaults = yaml.safe_load(text)
    found: list[Value] = []
    path: list[str] = []
    comment = ""
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# -- "):
            comment = stripped.removeprefix("# -- ")
        elif stripped.startswith("# ") and comment:
            comment += " " + stripped.removeprefix("# ")
        elif match := _KEY.match(line):
            path = [*path[: len(match[1]) // 2], match[2]]
            if comment:
                value: Any = defaults
                for step in path:
                    value = value[step]
                found.append(Value(".".join(path), value, comment))
            comment = ""
        else:
            comment = ""
    return found


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of everything that is not a mapping with content."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def undocumented(text: str) -> list[str]:
    """Return the values that neither have a comment nor stand below one that has."""
    known = {value.key for value in documented(text)}

    def covered(key: str) -> bool:
        steps = key.split(".")
        return any(".".join(steps[:count]) in known for count in range(1, len(steps) + 1))

    return [key for key in leaves(yaml.safe_load(text)) if not covered(key)]


def with_table(readme: str, values: str) -> str:
    """Return a README with the table of values between its two marks. Raises ValueError without the marks."""
    if BEGIN not in readme or END not in readme:
        raise ValueError(f"cannot write the table of values: the README lacks {BEGIN} and {END}")
    rows = ["| value | default | |", "|---|---|---|"]
    for value in documented(values):
        default = json.dumps(value.default, ensure_ascii=False)
        shown = "see values.yaml" if len(default) > 44 else f"`{default}`"
        rows.append(f"| `{value.key}` | {shown} | {value.text} |")
    head, tail = readme.partition(BEGIN)[0], readme.partition(END)[2]
    return f"{head}{BEGIN}\n{chr(10).join(rows)}\n{END}{tail}"


def main(arguments: list[str] | None = None) -> int:
    """Write what is generated, or with `--check` print how the committed files differ; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m charts.generate", description="Generate parts of the charts.")
    parser.add_argument("--check", action="store_true", help="print a diff and exit 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    wrong = 0
    for service in SERVICES:
        for path in strangers(service):
            if check:
                sys.stdout.write(f"{path.relative_to(CHARTS)}: nothing generates it\n")
                wrong += 1
            else:
                path.unlink()
        for path, content in generated(service).items():
            stored = path.read_text() if path.exists() else ""
            if stored == content:
                continue
            wrong += 1
            if check:
                name = str(path.relative_to(CHARTS))
                lines = difflib.unified_diff(
                    stored.splitlines(), content.splitlines(), f"{name} (committed)", f"{name} (generated)", lineterm=""
                )
                sys.stdout.write("\n".join(lines) + "\n")
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
                sys.stdout.write(f"{path}\n")
    if check and wrong:
        sys.stderr.write("cannot pass: generated files of the charts are out of date; run make charts\n")
    return 1 if check and wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
