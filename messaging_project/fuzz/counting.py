"""Loaded by schemathesis: counts the answers, by operation and status, into the file that FUZZ_COUNTS names."""

import atexit
import json
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import schemathesis

counts: Counter[tuple[str, int]] = Counter()
lock = threading.Lock()


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Count it."""
    with lock:
        counts[case.operation.label, response.status_code] += 1


@atexit.register
def write() -> None:
    """Leave the counts to who started the run."""
    rows = [[label, status, count] for (label, status), count in counts.items()]
    Path(os.environ["FUZZ_COUNTS"]).write_text(json.dumps(rows))
