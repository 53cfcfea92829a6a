"""The software bill of materials, as CycloneDX 1.6 in JSON: `python -m messaging_project.sbom`.

It tells what of `requirements.lock` is installed where it runs, the image of production or a developer's machine, with
licences, package URLs (https://github.com/package-url/purl-spec) and what needs what. https://cyclonedx.org/docs/1.6/json/
"""

import json
import re
import sys
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from uuid import uuid4

from messaging_project import __version__

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
LONGEST_LICENCE_NAME = 60


def main() -> int:
    """Print the bill."""
    json.dump(bill(), sys.stdout, indent=2)
    print()  # noqa: T201
    return 0


def bill() -> dict[str, Any]:
    """Return the bill for what is installed here."""
    locked = {normalised(name) for name in re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)}
    found = {name_of(each): each for each in distributions() if name_of(each) in locked}
    ours = {"type": "application", "bom-ref": "switchboard", "name": "switchboard", "version": __version__}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {**ours, "licenses": [{"license": {"id": "MIT"}}]},
        },
        "components": [component(found[name]) for name in sorted(found)],
        "dependencies": [
            {"ref": "switchboard", "dependsOn": [purl(found[name]) for name in sorted(found)]},
            *({"ref": purl(found[name]), "dependsOn": needs(found[name], found)} for name in sorted(found)),
        ],
    }


def component(distribution: Distribution) -> dict[str, Any]:
    """Return an installed package as a component."""
    it = {"type": "library", "bom-ref": purl(distribution), "name": distribution.name}
    it |= {"version": distribution.version, "purl": purl(distribution), "scope": "required"}
    if author := first(distribution, "Author") or first(distribution, "Author-email"):
        it["author"] = author
    return {**it, "licenses": licences(distribution)}


def licences(distribution: Distribution) -> list[dict[str, Any]]:
    """Return a package's licence in its own words: an SPDX expression (PEP 639), else a name. [] where it has none."""
    if expression := first(distribution, "License-Expression"):
        return [{"expression": expression}]
    classifiers = distribution.metadata.get_all("Classifier") or []
    names = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: ")]
    if not names and (said := first(distribution, "License").strip()):
        names = [said.splitlines()[0][:LONGEST_LICENCE_NAME]]
    return [{"license": {"name": name}} for name in names]


def first(distribution: Distribution, field: str) -> str:
    """Return the first value of a field of a package's metadata, "" without one."""
    return str((distribution.metadata.get_all(field) or [""])[0])


def needs(distribution: Distribution, found: dict[str, Distribution]) -> list[str]:
    """Return what of the rest a package needs, its extras aside."""
    required = (each for each in distribution.requires or [] if "extra ==" not in each)
    names = {normalised(re.split(r"[^\w.-]", each, maxsplit=1)[0]) for each in required}
    return [purl(found[name]) for name in sorted(names & set(found))]


def purl(distribution: Distribution) -> str:
    """Return the package URL of a package."""
    return f"pkg:pypi/{name_of(distribution)}@{distribution.version}"


def name_of(distribution: Distribution) -> str:
    """Return the name of a package as indexes compare it."""
    return normalised(distribution.name)


def normalised(name: str) -> str:
    """Return a name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
