"""Deliberate breakages: the product, broken in one place each, by a settings module of its own.

A drill that cannot fail is worth nothing, so each of these has to turn its drill red, in the way that it should. The
product knows nothing of them: a module here takes the product's settings and names in `SABOTAGE` what is replaced, and
`Sabotage` replaces it when Django is ready.
"""

import pkgutil
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from django.apps import AppConfig
from django.conf import settings

from messaging_project.drills.referee import Verdict


@dataclass(frozen=True, slots=True)
class Breakage:
    """A settings module here, the drill that has to see it, and how that has to show: words of its faults."""

    name: str
    drill: str
    shows_as: str

    @property
    def module(self) -> str:
        """The settings module."""
        return f"{__name__}.{self.name.replace('-', '_')}"

    def shows_in(self, verdict: Verdict) -> bool:
        """Whether the drill saw it, and did not merely fail over something else."""
        return any(fault.startswith(self.shows_as) for fault in verdict.faults)


BREAKAGES = (
    Breakage("no-sweep", "lost-rings", "stuck"),
    Breakage("no-lease-check", "worker-frozen", "doubled"),
    Breakage("last-write-wins", "callbacks-shuffled", "stuck"),
    Breakage("settle-at-once", "provider-late", "doubled"),
    Breakage("publish-not-robust", "redis-kill", "unexplained answers"),
    Breakage("key-not-unique", "one-key", "one key makes one message"),
)


class Sabotage(AppConfig):
    """Replaces what the settings name: `SABOTAGE` maps "module:name" to a function of the original."""

    name = "messaging_project.drills.sabotage"

    def ready(self) -> None:
        """Replace it, for the life of the process."""
        for target, broken in getattr(settings, "SABOTAGE").items():  # noqa: B009 - only our own settings modules have it
            original: Any = pkgutil.resolve_name(target)
            patch(target.replace(":", "."), broken(original)).start()
