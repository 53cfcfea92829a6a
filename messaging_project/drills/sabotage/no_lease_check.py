"""A worker begins a call however little is left of its lease."""

from messaging_project.settings import *  # noqa: F403

LEASE_MARGIN_SECONDS = -1_000_000
