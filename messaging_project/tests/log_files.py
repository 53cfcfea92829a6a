"""The logs of a running stack, one file for each of its processes, as tests read them."""

import json
import re

OURS = ("web", "sms", "mms", "email", "events", "sweep", "beat", "flower")
# The numbers and addresses that the tests write to and from; hexadecimal digits around make it part of some id.
ADDRESSES = re.compile(r"(?<![0-9a-f])\+?1555\d{7}(?![0-9a-f])|[\w.+-]+@example\.(?:com|org|net)")
# What Celery and kombu say of being stopped, past the log.
PAST_THE_LOG = ("worker: Warm shutdown", "worker: Cold shutdown", "Restoring ")


def found_in(directory, pattern):
    """Every line in which a pattern occurs, after the name of its file; but for the supervisor's words of welcome."""
    return [
        f"{log.name}: {line}"
        for log in sorted(directory.glob("*.log*"))
        if log.name != "stack.log"
        for line in log.read_text(errors="replace").splitlines()
        if re.search(pattern, line)
    ]


def lines(stack, name):
    """The lines of a process, as the objects that they are; what is no JSON comes as text."""

    def read(line):
        return json.loads(line) if line.startswith("{") else line

    every = (stack.logs / f"{name}.log").read_text().splitlines()
    return [read(line) for line in every if line and not line.startswith(PAST_THE_LOG)]
