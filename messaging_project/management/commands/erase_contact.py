"""`manage.py erase_contact ADDRESS`: erase everything that is held of one number or address."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations.models.status import Status
from messaging_project.contact import Contact
from messaging_project.erasure import HELD, CallbacksWait, Erasure, FilesStay, MailsStay, StillHeld, unredacted
from messaging_project.management.commands.export_contact import found


class Command(BaseCommand):
    """Erases, once somebody said yes. What is counted stays; so does a wish to get nothing more, by a pseudonym."""

    help = (
        "Erase everything that is held of one number or address: texts, files, addresses, callbacks, what subscribers"
        " were told. What waits is canceled, what is on its way is waited for. It can be run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take whom, and how long to wait."""
        parser.add_argument("address", help="a number (E.164) or an email address")
        parser.add_argument("--yes", action="store_true", help="do not ask")
        parser.add_argument(
            "--wait-minutes", type=float, default=60, help="for messages that are on their way; 60 by default"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Raises `CommandError` for what is no address or one of ours, without a yes, and where something is left."""
        contact = found(options["address"])
        if contact.is_ours:
            raise CommandError(f"{contact.address} is one of our own: messages were sent from it, or came in to it.")
        self.stdout.write(plan(contact))
        if not options["yes"] and not self.is_confirmed():
            raise CommandError("Nothing was erased.")
        erasure = Erasure(contact.address, self.tell, timedelta(minutes=options["wait_minutes"]))
        try:
            erasure.run()
        except StillHeld as held:
            raise CommandError(
                f"Still on their way: {held}. Are workers and sweeper running? Nothing was erased: run it again."
            ) from None
        except CallbacksWait:
            raise CommandError(
                "A callback that names it could not take effect yet; the log, and the admin under Receipts, say why."
                " All else was erased: run it again."
            ) from None
        except MailsStay:
            raise CommandError("The storage does not delete a mail; its log line says why. Run it again.") from None
        except FilesStay as files:
            raise CommandError(
                f"Erased, but the storage does not delete some files ({files}); their log lines say why. Nobody is"
                " shown them any more, and the sweeper goes on trying to delete them: there is no need to run it again."
            ) from None
        for name, count in erasure.counts.items():
            self.stdout.write(f"{count:>8}  {name}")
        self.stdout.write(self.style.SUCCESS("Erased."))

    def tell(self, line: str) -> None:
        """Say how far it is, at once."""
        self.stdout.write(line)
        self.stdout.flush()

    def is_confirmed(self) -> bool:
        """Ask. Nobody there is a no."""
        try:
            return input("It can't be undone. Type yes to erase: ").strip().lower() == "yes"
        except EOFError:
            return False


def plan(contact: Contact) -> str:
    """Return what would be erased."""
    waiting = contact.messages().filter(status=Status.PENDING).count()
    held = contact.messages().filter(status__in=HELD).count()
    lines = [
        f"{contact.address}:",
        f"  {unredacted(contact).count()} messages in {len(contact.conversation_ids)} conversations, with"
        f" {contact.media().exclude(file='').count()} files and {contact.notes().count()} notes",
        f"  {waiting} of them wait and are canceled, {held} are on their way and are waited for",
        f"  {contact.deliveries().count()} deliveries to subscribers, {contact.log_entries().count()} lines of the"
        " audit trail, and the callbacks that name it",
        f"  {contact.opt_outs().in_force().count()} opt-outs, which hold on by a pseudonym",
    ]
    return "\n".join(lines)
