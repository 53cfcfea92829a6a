"""gunicorn's settings (`-c python:messaging_project.web`): what its processes count, and that they log as all others.

Each worker counts for itself, in files of a directory that its master makes; whoever answers /metrics adds them up.
prometheus-client looks for the directory when it is imported, so nothing here may import it. Requests are logged by
`messaging_project.requests`, which knows their routes.
"""

import os
import shutil
import tempfile
from typing import Any

from messaging_project import settings
from messaging_project.garbage import search_seldom

workers = 2
threads = 8
worker_class = "gthread"
# Longer than a call to a provider may take, which with SYNC_MESSAGE_PROCESSING is part of a request.
graceful_timeout = 30
control_socket_disable = True
logconfig_dict = settings.LOGGING
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def on_starting(server: Any) -> None:
    """Make the directory, before any worker is there."""
    os.environ[VARIABLE] = tempfile.mkdtemp(prefix="switchboard-metrics-")


def post_worker_init(worker: Any) -> None:
    """All is imported by now, in this one of the processes."""
    search_seldom()


def on_exit(server: Any) -> None:
    """Remove the directory."""
    shutil.rmtree(os.environ[VARIABLE], ignore_errors=True)
