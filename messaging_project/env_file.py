"""A settings file, `.env` or `var/local.env`, by the grammar of django-environ: `NAME=value`, a line each.

`export NAME=value` is the same. A value may stand in single or double quotes and never goes on in another line. Empty
lines are skipped, and those that begin with #.
"""

import io
import re
from pathlib import Path

import environ

SETTING = re.compile(r"(?:export )?[A-Za-z_0-9]+=.*")


class MalformedFile(Exception):
    """The sentence names the file and the line, and never quotes it: it may hold half of a secret."""


def read(path: Path) -> dict[str, str]:
    """Return the values by name. Raises `OSError` for what can't be opened, and `MalformedFile`.

    django-environ itself would skip a line that it can't read, and log it in clear.
    """

    class Reader(environ.Env):  # type: ignore[misc]
        ENVIRON: dict[str, str] = {}

    try:
        lines = dict(enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1))
    except UnicodeDecodeError:
        raise MalformedFile(f"{path} can't be read: it is not UTF-8.") from None
    told = {number: line for number, line in lines.items() if line.strip() and not line.lstrip().startswith("#")}
    for number, line in told.items():
        if not SETTING.fullmatch(line):
            raise MalformedFile(
                f"Line {number} of {path} can't be read: write NAME=value, without a space around =, or # before a"
                " comment. A value never goes on in another line."
            )
    Reader.read_env(io.StringIO("\n".join(told.values())))
    return Reader.ENVIRON
