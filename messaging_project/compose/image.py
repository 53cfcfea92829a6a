"""What the Dockerfile would put into the image: the program's files and no others, and the packages of requirements.txt
without those that only a developer has.
"""

import json
import re
import shutil
import sysconfig
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from importlib import metadata
from pathlib import Path, PurePath

from packaging.requirements import Requirement

from messaging_project.local.binaries import CHECKOUT

# Of the image that ours is made from.
SYSTEM_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a directory: `files` belongs at `workdir`; `packages` in `venv` are links that lead past `mounted`,
    where the packages of this machine have to be mounted.
    """

    files: Path
    venv: Path
    mounted: Path
    workdir: str
    command: tuple[str, ...]
    environment: dict[str, str]


def build(place: Path) -> Image:
    """Make the image in a directory."""
    text = (CHECKOUT / "Dockerfile").read_text()
    image = Image(
        files=place / "files",
        venv=place / "venv",
        mounted=place / "packages",
        workdir=re.findall(r"^WORKDIR (\S+)", text, re.MULTILINE)[-1],
        command=tuple(json.loads(re.findall(r"^CMD (\[.+\])", text, re.MULTILINE)[-1])),
        environment=environment(text, place / "venv"),
    )
    copy_files(image.files)
    image.mounted.mkdir()
    install(image)
    return image


def environment(dockerfile: str, own_venv: Path) -> dict[str, str]:
    """What ENV says, with our virtual environment in the place of the image's."""
    given = re.findall(r"^ENV (.+)", dockerfile, re.MULTILINE)[-1]
    values = dict(word.split("=", 1) for word in given.split())
    values["PATH"] = values["PATH"].replace("/opt/venv", str(own_venv)).replace("$PATH", SYSTEM_PATH)
    return values


def copy_files(target: Path) -> None:
    """Do what `COPY . .` does: everything but what .dockerignore keeps out."""
    patterns = patterns_of((CHECKOUT / ".dockerignore").read_text())

    def ignored(directory: str, names: list[str]) -> set[str]:
        inside = Path(directory).relative_to(CHECKOUT)
        return {name for name in names if is_ignored(inside / name, patterns)}

    shutil.copytree(CHECKOUT, target, ignore=ignored, symlinks=True)


def patterns_of(dockerignore: str) -> list[str]:
    """The patterns of such a file, without its comments."""
    return [line for line in dockerignore.splitlines() if line and not line.startswith("#")]


def is_ignored(path: PurePath, patterns: Iterable[str]) -> bool:
    """Whether a path of the checkout is kept out: the last pattern that matches it decides, one with `!` lets it in."""
    ignored = False
    for pattern in patterns:
        if matches(path, pattern.removeprefix("!")):
            ignored = not pattern.startswith("!")
    return ignored


def matches(path: PurePath, pattern: str) -> bool:
    """Whether a pattern means a path or a directory that it lies in; `**/` before it stands for any directory."""
    wanted = pattern.removeprefix("**/").split("/")
    starts = range(len(path.parts)) if pattern.startswith("**/") else [0]
    return any(
        len(path.parts) - start >= len(wanted) and all(map(fnmatch, path.parts[start:], wanted)) for start in starts
    )


def install(image: Image) -> None:
    """Make a virtual environment that has what requirements.txt asks for, and what that asks for."""
    venv.create(image.venv, symlinks=True)
    packages = next(image.venv.glob("lib/python*/site-packages"))
    for found in production():
        for name in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (packages / name).is_symlink():
                (packages / name).symlink_to(image.mounted / name)
        for entry in found.entry_points.select(group="console_scripts"):
            write_script(image.venv / "bin", entry)


def write_script(directory: Path, entry: metadata.EntryPoint) -> None:
    """Write a program such as `celery` as pip does."""
    python, program = directory / "python", directory / entry.name
    code = f"import sys\nfrom {entry.module} import {entry.attr}\nsys.exit({entry.attr}())\n"
    program.write_text(f"#!{python}\n{code}")
    program.chmod(0o755)


def production() -> list[metadata.Distribution]:
    """The packages that `pip install -r requirements.txt` brings, out of those that are installed here."""
    lines = (CHECKOUT / "requirements.txt").read_text().splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found: dict[tuple[str, str], metadata.Distribution] = {}
    while wanted:
        requirement = wanted.pop()
        for extra in ("", *requirement.extras):
            if (requirement.name, extra) in found:
                continue
            distribution = found[requirement.name, extra] = metadata.distribution(requirement.name)
            asked = map(Requirement, distribution.requires or ())
            wanted += [each for each in asked if not each.marker or each.marker.evaluate({"extra": extra})]
    return list({each.name: each for each in found.values()}.values())


def packages_of_this_machine() -> Path:
    """Where those of the virtual environment that runs this are installed."""
    return Path(sysconfig.get_path("purelib")).resolve()
