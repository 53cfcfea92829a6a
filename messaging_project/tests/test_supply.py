"""What production is made of: the lock that it is installed from, and the bill that tells of it."""

import json
import re
import subprocess
import sys

import pytest
from django.conf import settings

ROOT = settings.BASE_DIR
LOCK = (ROOT / "requirements.lock").read_text()
PINNED = re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
PURL = r"pkg:pypi/[a-z0-9]+(-[a-z0-9]+)*@[\w.+!-]+"


@pytest.fixture(scope="module")
def bill():
    """The bill as `make sbom` writes it."""
    command = [sys.executable, "-m", "messaging_project.sbom"]
    return json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize(("name", "version"), PINNED)
def test_the_lock_holds_what_the_requirements_name(name, version):
    """Otherwise: make lock."""
    assert re.search(rf"^{re.escape(name)}==?{re.escape(version)} ", LOCK, re.MULTILINE | re.IGNORECASE)


def test_every_locked_package_has_the_hashes_of_its_files_and_no_host_to_come_from():
    packages = re.split(r"^(?=\w)", LOCK, flags=re.MULTILINE)[1:]
    assert len(packages) > len(PINNED)
    assert [each for each in packages if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", each)] == []
    assert "://" not in LOCK
    assert "--" not in re.sub(r"--hash=", "", LOCK)


def test_the_image_is_installed_from_the_lock_and_checks_the_hashes():
    installs = re.findall(r"pip install .*", (ROOT / "Dockerfile").read_text())
    assert [("--require-hashes" in each, each.split()[-1]) for each in installs] == [(True, "/tmp/requirements.lock")]


def test_the_bill_is_one_of_cyclonedx_1_6(bill):
    """The members that the specification requires, and the forms that it gives them."""
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
    assert bill["metadata"]["component"]["name"] == "switchboard"
    for each in bill["components"]:
        assert {"type", "name", "version", "purl", "bom-ref", "licenses"} <= set(each)
        assert re.fullmatch(PURL, each["purl"]), each
    known = {each["bom-ref"] for each in bill["components"]}
    assert len(known) == len(bill["components"])
    for each in bill["dependencies"]:
        assert set(each["dependsOn"]) <= known


def test_the_bill_names_each_package_of_the_requirements_with_its_licence(bill):
    licences = {each["name"].lower().replace("_", "-"): each["licenses"] for each in bill["components"]}
    assert [name for name, _ in PINNED if not licences[name.lower()]] == []
    assert "BSD" in str(licences["django"])


def test_the_bill_tells_what_needs_what_and_of_no_tool_of_developers(bill):
    needs = {each["ref"].split("@")[0]: " ".join(each["dependsOn"]) for each in bill["dependencies"]}
    assert "pkg:pypi/asgiref@" in needs["pkg:pypi/django"]
    assert "pkg:pypi/pytest" not in needs
