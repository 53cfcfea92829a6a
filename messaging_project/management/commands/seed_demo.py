"""`manage.py seed_demo`: some hundred conversations of the last six weeks, to look around in."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError
from django.utils import timezone

from messaging_project.demo_world.keeping import demo_conversations, remove, save
from messaging_project.demo_world.world import make_world
from messaging_project.progress import Progress
from providers.wire import is_loopback

LEAST, MOST = 1, 10_000


class Command(BaseCommand):
    """Fills the database with people who write to businesses, and takes them away again with `--remove`."""

    help = (
        "Fill the database with a believable world to look around in. Nothing of it is sent, but for a few reminders"
        " that are scheduled for the coming weeks and go to the sandbox. A second one beside it is refused: take the"
        " first away with --remove."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take how large the world is, which of the many possible ones it is, and where it may be."""
        parser.add_argument("--conversations", type=int, default=300, help="how many, 300 by default")
        parser.add_argument("--seed", type=int, default=1, help="the same number makes the same world; 1 by default")
        parser.add_argument("--remove", action="store_true", help="take the demo world away, with all written in it")
        parser.add_argument(
            "--yes-into-this-database",
            action="store_true",
            help="also where messages could go to real people; then nothing is scheduled or in doubt",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises `CommandError` with a sentence where there should be no such world."""
        if options["remove"]:
            self.stdout.write(f"Removed: {remove()} conversations.")
            return
        if not LEAST <= options["conversations"] <= MOST:
            raise CommandError(f"--conversations takes a whole number from {LEAST} to {MOST}.")
        reason = reason_against()
        if reason and not options["yes_into_this_database"]:
            raise CommandError(
                f"{reason} A demo world belongs on a developer's own machine; --yes-into-this-database puts one here"
                " all the same."
            )
        if count := demo_conversations().count():
            raise CommandError(f"There is a demo world here, of {count} conversations: --remove takes it away.")
        self.fill(options["seed"], options["conversations"], with_scheduled=not reason)

    def fill(self, seed: int, count: int, *, with_scheduled: bool) -> None:
        """Make the world and save it. Raises `CommandError`."""
        world = make_world(seed, count, timezone.now(), with_scheduled=with_scheduled)
        try:
            save(world, self.begin)
        except IntegrityError:
            raise CommandError("Two of its addresses have an open conversation here: close that one first.") from None
        self.stdout.write(f"{len(world.conversations)} conversations: {settings.PUBLIC_URL}/admin/")

    def begin(self, step: str, total: int) -> Progress:
        """Begin a step that is shown."""
        return Progress(lambda text: self.stdout.write(text, ending=""), step, total, moves=self.stdout.isatty())


def reason_against() -> str:
    """Return why a message could reach real people from here, "" where it could not."""
    if not settings.DEBUG:
        return "DEBUG is off."
    if not settings.PUBLIC_URL_IS_LOOPBACK:
        return "PUBLIC_URL is not this machine's own."
    accounts = dict.fromkeys(name for route in settings.ROUTES.values() for name in route)
    real = [name for name in accounts if not is_loopback(getattr(settings, f"{name}_BASE_URL".upper(), ""))]
    return f"{', '.join(real)} would send to real people." if real else ""
