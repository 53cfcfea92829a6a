"""Erasing a contact: everything that we hold of one number or address goes, but for what is counted.

Messages keep their rows, as what `backfill` or a provider brings again is known by them, and reports that are still to
come find them; see docs/adr/0019-redaction-and-erasure.md for what stays and why.
"""

import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from conversations import redaction
from conversations.models import Conversation, Media, Message, OptOut
from conversations.models.status import AT_REST, Status
from conversations.pseudonyms import REDACTED, pseudonym, pseudonyms
from conversations.redaction import erased
from messaging_project.contact import Contact

AT_ONCE = 200
LOOK_AGAIN_SECONDS = 0.5
BY = "erase_contact"
REASON = "Erased, as its recipient or sender asked for it, or somebody for them."
HELD = (Status.SENDING, Status.UNCERTAIN)


class StillHeld(Exception):
    """A worker, or the settling of a doubt, did not let go of a message in time."""


class CallbacksWait(Exception):
    """A callback that names the contact could not take effect yet, so it is not erased: it may be somebody else's."""


class MailsStay(Exception):
    """The storage does not delete a mail as it came, so its callback stays."""


class FilesStay(Exception):
    """All is erased but for files that the storage does not delete now; the sweeper goes on trying."""


class Erasure:
    """Erases an address, as messages keep it, in transactions of some hundred rows; begun again it goes on from there.

    `tell` is told how far it is; `counts` is how much of what was erased.
    """

    def __init__(self, address: str, tell: Callable[[str], object], patience: timedelta) -> None:
        self.address = address
        self.tell = tell
        self.patience = patience
        self.counts: Counter[str] = Counter()
        self.files: set[UUID] = set()

    def run(self) -> None:
        """Erase until nothing is left, whatever comes in meanwhile. Raises `StillHeld`, `CallbacksWait`, `MailsStay` or
        `FilesStay`.
        """
        self.apply_receipts()
        while True:
            contact = Contact(self.address)
            self.let_go(contact)
            self.erase_messages(contact)
            self.erase_conversations(contact)
            self.erase_around(contact)
            if not unredacted(Contact(self.address)).exists():
                break
        if stay := Media.objects.filter(pk__in=self.files).to_delete().count():
            raise FilesStay(stay)

    def apply_receipts(self) -> None:
        """Let callbacks take effect that still wait: else they would bring back what was erased."""
        for receipt in Contact(self.address).receipts():
            if receipt.next_attempt_at is not None:
                type(receipt).objects.filter(pk=receipt.pk).update(next_attempt_at=Now())
                type(receipt).objects.apply([receipt])

    def let_go(self, contact: Contact) -> None:
        """Cancel what waits, also what a doubt turns into, and wait for what a worker holds. Raises `StillHeld`."""
        give_up_at, told = time.monotonic() + self.patience.total_seconds(), ""
        while True:
            for pk in contact.messages().filter(status=Status.PENDING).values_list("pk", flat=True):
                self.counts["waiting messages canceled"] += Message.objects.cancel(pk, BY) is not None
            held = Counter(contact.messages().filter(status__in=HELD).values_list("status", flat=True))
            if not held:
                return
            words = ", ".join(f"{count} {status}" for status, count in sorted(held.items()))
            if time.monotonic() > give_up_at:
                raise StillHeld(words)
            if words != told:
                self.tell(f"Waits for messages that are on their way: {words}.")
                told = words
            time.sleep(LOOK_AGAIN_SECONDS)

    def erase_messages(self, contact: Contact) -> None:
        """Redact the messages, with their files and timelines."""
        self.files |= set(contact.media().exclude(file="").values_list("pk", flat=True))
        at_rest = unredacted(contact).filter(status__in=AT_REST)
        while ids := list(at_rest.values_list("pk", flat=True)[:AT_ONCE]):
            self.counts["messages"] += redaction.redact(ids, erased, REASON)
        self.counts["files"] += Media.objects.filter(pk__in=self.files).delete_from_storage()
        for end in ("sender", "recipient"):  # of those that were redacted before, what they were with the same person
            stood_in = contact.messages().filter(**{f"{end}__in": pseudonyms(self.address)})
            stood_in.update(**{end: REDACTED})

    def erase_conversations(self, contact: Contact) -> None:
        """Redact the conversations in which no message is left, with their notes."""
        for pk in contact.conversation_ids:
            with transaction.atomic():
                conversation = Conversation.objects.select_for_update().filter(pk=pk).first()
                if conversation is None or conversation.messages.filter(redacted_at=None).exists():
                    continue
                ends = {conversation.participant_from, conversation.participant_to}
                ours = {each.casefold() for each in ends if not contact.is_named(each)}
                redaction.redact_conversation(conversation, erased, ours)
                redaction.redact_audit_trail([conversation])
                self.counts["conversations"] += 1

    def erase_around(self, contact: Contact) -> None:
        """Erase what was kept beside: callbacks, what subscribers were told, keys, the audit trail, opt-outs.

        What came meanwhile takes effect first. Raises `CallbacksWait` or `MailsStay`.
        """
        self.apply_receipts()
        for receipt in contact.receipts():
            if receipt.next_attempt_at is not None and receipt.result != receipt.Result.ORPHAN:
                raise CallbacksWait
            if not type(receipt).objects.filter(pk=receipt.pk).forget():
                raise MailsStay
            self.counts["callbacks"] += 1
        while count := contact.deliveries().forget(AT_ONCE):
            self.counts["deliveries to subscribers"] += count
        contact.idempotency_keys().update(fingerprint="")
        pattern = re.compile(contact.pattern, re.IGNORECASE)
        for entry in contact.log_entries():
            entry.object_repr = pattern.sub(REDACTED, entry.object_repr)
            entry.change_message = pattern.sub(REDACTED, entry.change_message)
            entry.save(update_fields=["object_repr", "change_message"])
        self.erase_opt_outs(contact.opt_outs())

    def erase_opt_outs(self, opt_outs: "QuerySet[OptOut]") -> None:
        """Let opt-outs hold by a pseudonym, once each; those that were lifted go."""
        opt_outs.filter(lifted_at__isnull=False).delete()
        for each in opt_outs.filter(~Q(their_address__in=pseudonyms(self.address))):
            stands_in = pseudonym(self.address)
            same = {"channel_type": each.channel_type, "our_address__iexact": each.our_address, "test": each.test}
            with transaction.atomic():
                if OptOut.objects.in_force().filter(their_address=stands_in, **same).exists():
                    each.delete()
                else:
                    OptOut.objects.filter(pk=each.pk).update(their_address=stands_in)
            self.counts["opt-outs kept by a pseudonym"] += 1


def unredacted(contact: Contact) -> "QuerySet[Message]":
    """Return the messages of a contact that are still as they were."""
    return contact.messages().filter(redacted_at=None)
