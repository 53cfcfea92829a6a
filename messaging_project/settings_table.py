"""All settings as one page: names, order and words from `.env.example`, defaults from the code that reads them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from messaging_project.settings import BASE_DIR, VAR_DIR, env

EXAMPLE = BASE_DIR / ".env.example"
UNITS = {
    "_PER_MINUTE": "requests a minute",
    "_SECONDS": "seconds",
    "_MINUTES": "minutes",
    "_DAYS": "days",
    "_MS": "milliseconds",
    "_BYTES": "bytes",
}
HEAD = """# Settings

Every setting with its default, made by `manage.py settings_table > docs/settings.md` out of the code and
[.env.example](../.env.example). A value comes from the environment, else from `.env`, else from what `make run` made
up, else it is the default.
"""
TABLE = "| setting | default | unit | what it does |\n|---|---|---|---|"


@dataclass
class Entry:
    """Settings that one comment is about, each with the value that the example shows for it."""

    about: str
    examples: dict[str, str] = field(default_factory=dict)


def sections(text: str) -> Iterator[tuple[str, list[Entry]]]:
    """Yield each section of an example file with its entries. A comment is about the settings that follow it."""
    title, entries, comment = "", list[Entry](), list[str]()
    for line in [*text.splitlines(), "# --- ---"]:
        if head := re.fullmatch(r"# --- (.*?) ?---", line):
            if entries:
                yield title, entries
            title, entries, comment = head[1], [], []
        elif setting := re.fullmatch(r"#([A-Z][A-Z0-9_]*)=(.*)", line):
            if comment or not entries:
                entries.append(Entry(" ".join(comment)))
                comment = []
            entries[-1].examples[setting[1]] = setting[2]
        elif line.startswith("# "):
            comment.append(line.removeprefix("# "))


def page() -> str:
    """Return the page, as Markdown."""
    parts = [HEAD]
    for title, entries in sections(EXAMPLE.read_text()):
        parts += [f"## {title}\n", TABLE, *map(row, entries), ""]
    return "\n".join(parts)


def row(entry: Entry) -> str:
    """Return the row of an entry, with a line in it for each of its settings."""
    names = [f"`{name}`" for name in entry.examples]
    defaults = [default_of(name, example) for name, example in entry.examples.items()]
    units = [unit_of(name) for name in entry.examples]
    cells = [*map(lines, (names, defaults, units)), entry.about]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def lines(values: list[str]) -> str:
    """Return the lines of a cell, one where all are the same."""
    return values[0] if len(set(values)) == 1 else "<br>".join(values)


def default_of(name: str, example: str) -> str:
    """Return a setting's default as it would be written; that of the example where the code does not read it."""
    written = as_written(env.defaults[name]) if name in env.defaults else example
    return f"`{written}`" if written else ""


def as_written(value: Any) -> str:
    """Return a value as it stands in the environment. Paths below the checkout are told from there, those below VAR_DIR
    as by default.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, dict):
        return ",".join(f"{key}={each}" for key, each in value.items())
    return str(value).replace(f"{VAR_DIR}/", "var/").replace(f"{BASE_DIR}/", "")


def unit_of(name: str) -> str:
    """Return the unit that a setting's name ends in, "" for none."""
    return next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
