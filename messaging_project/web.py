"""gunicorn's settings (`-c python:messaging_project.web`): what its processes count is kept together.

Each worker counts for itself, in files of a directory that its master makes; whoever answers /metrics adds them up.
"""

import os
import shutil
import tempfile
from typing import Any

from prometheus_client.multiprocess import mark_process_dead

workers = 2
threads = 8
worker_class = "gthread"
graceful_timeout = 20
control_socket_disable = True
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def on_starting(server: Any) -> None:
    """Make the directory, before any worker is there."""
    os.environ[VARIABLE] = tempfile.mkdtemp(prefix="switchboard-metrics-")


def child_exit(server: Any, worker: Any) -> None:
    """Forget what is true of living workers only; what was counted stays."""
    mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:
    """Remove the directory."""
    shutil.rmtree(os.environ[VARIABLE], ignore_errors=True)
