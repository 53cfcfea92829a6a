"""Whatever came last is the status: facts are overwritten by older facts."""

from messaging_project.settings import *  # noqa: F403
from messaging_project.settings import INSTALLED_APPS as PRODUCTS_APPS

INSTALLED_APPS = [*PRODUCTS_APPS, "messaging_project.drills.sabotage.Sabotage"]
SABOTAGE = {"conversations.models.report:may_move": lambda _: lambda *_: True}
