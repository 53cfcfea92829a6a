"""Nobody makes good what got lost: the sweep of messages does nothing."""

from messaging_project.settings import *  # noqa: F403
from messaging_project.settings import INSTALLED_APPS as PRODUCTS_APPS

INSTALLED_APPS = [*PRODUCTS_APPS, "messaging_project.drills.sabotage.Sabotage"]
SABOTAGE = {"conversations.tasks:sweep.run": lambda _: lambda: "nothing"}
