"""Who wants no more messages from which of our addresses."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import connection, models
from django.db.models import Q, Value
from django.db.models.functions import Lower
from django.utils import timezone
from uuid_utils.compat import uuid7

from conversations.models.client import of_lane, of_senders
from conversations.models.conversation import Conversation, channel_type_of
from conversations.pseudonyms import PREFIX, prefix_of, pseudonyms

if TYPE_CHECKING:
    from conversations.models.message import Message

REFUSED = "recipient_opted_out"
"""The `error_code` of a message that was not offered to a provider, as its recipient has opted out."""
RECIPIENT_OPTED_OUT = "The recipient has opted out of messages from this sender."

# Compared by PostgreSQL on both sides, so that one rule of case decides; an index answers it. Whoever opted out and was
# erased since is known by a pseudonym, of which there is one for each key (conversations.pseudonyms).
OPTED_OUT = """EXISTS (
    SELECT FROM conversations_optout AS opt_out
    WHERE opt_out.channel_type = {channel_type} AND opt_out.test = %(test)s AND opt_out.lifted_at IS NULL
      AND lower(opt_out.our_address) = lower({sender})
      AND lower(opt_out.their_address) = {recipient})"""

# Not EXISTS: where it takes many for such ones, the planner would read the table for the first of them.
SOME_BY_PSEUDONYM = """(
    SELECT true FROM conversations_optout WHERE their_address LIKE 'redacted:%%' AND lifted_at IS NULL
    ORDER BY their_address LIMIT 1) IS TRUE"""

OPT_OUTS_BY_PSEUDONYM = """
SELECT channel_type, lower(our_address), their_address, test FROM conversations_optout
WHERE their_address = ANY(%(names)s) AND their_address LIKE 'redacted:%%' AND lifted_at IS NULL"""


class OptOutQuerySet(models.QuerySet["OptOut"]):
    """How opt-outs begin and end."""

    def visible_to(self, client: Any) -> "OptOutQuerySet":
        """Return those of the client's addresses, of tests for a test client only."""
        return self.filter(of_senders(client, "our_address"), of_lane(client))

    def in_force(self) -> "OptOutQuerySet":
        """Return those that hold now."""
        return self.filter(lifted_at__isnull=True)

    def between(
        self, channel_type: str, our_address: str, their_address: str, *, test: bool = False
    ) -> "OptOutQuerySet":
        """Return those of one pair of addresses, in any case; also where theirs is not kept but as a pseudonym."""
        lowered = self.alias(ours=Lower("our_address"), theirs=Lower("their_address"))
        theirs = [Lower(Value(their_address)), *pseudonyms(their_address)]
        return lowered.filter(channel_type=channel_type, test=test, ours=Lower(Value(our_address)), theirs__in=theirs)

    def against(self, message: "Message") -> "OptOutQuerySet":
        """Return those that hold now and for which a message is not sent."""
        channel_type = channel_type_of(message.type)
        return self.between(channel_type, message.sender, message.recipient, test=message.test).in_force()

    def opt_out(
        self,
        channel_type: str,
        our_address: str,
        their_address: str,
        *,
        source: str,
        at: datetime | None = None,
        test: bool = False,
    ) -> "OptOut":
        """Let an opt-out hold from `at` (now) on, once; return the one that holds, or that was lifted after `at`."""
        pair = self.between(channel_type, our_address, their_address, test=test)
        lifted_later = pair.filter(lifted_at__gt=at).first() if at else None
        if lifted_later is not None:
            return lifted_later
        opt_out = OptOut(
            channel_type=channel_type,
            our_address=our_address,
            their_address=their_address,
            source=source,
            opted_out_at=at or timezone.now(),
            test=test,
        )
        self.bulk_create([opt_out], ignore_conflicts=True)
        return pair.in_force().first() or opt_out

    def by_pseudonym(self, key: str | None = None) -> "OptOutQuerySet":
        """Return those of people whose address is not kept; those alone that hang on one SECRET_KEY."""
        return self.filter(their_address__startswith=PREFIX if key is None else prefix_of(key))

    def heeded_by_pseudonym(self, claimed: list["Message"]) -> list["Message"]:
        """Return these claimed messages; of those whose recipient opted out and is known by a pseudonym only, that is
        noted. The others the claim itself has looked at.
        """
        if not any(message.some_opted_out_by_pseudonym for message in claimed):
            return claimed
        named = [(message, pseudonyms(message.recipient)) for message in claimed]
        with connection.cursor() as cursor:
            cursor.execute(OPT_OUTS_BY_PSEUDONYM, {"names": [name for _, names in named for name in names]})
            held = set(cursor.fetchall())
        for message, names in named:
            line = channel_type_of(message.type), message.sender.lower()
            if any((*line, name, message.test) in held for name in names):
                message.recipient_opted_out = True
        return claimed

    def lift(self, *, source: str, at: datetime | None = None) -> int:
        """End those among these that hold since before `at` (now); return how many there were."""
        at = at or timezone.now()
        return self.in_force().filter(opted_out_at__lte=at).update(lifted_at=at, lifted_by=source)


class OptOut(models.Model):
    """One address's wish to get nothing more from one of ours on a channel. A lifted one is kept: it is evidence."""

    class Source(models.TextChoices):
        """On whose word it holds, or was lifted."""

        KEYWORD = "keyword", "Texted STOP"
        PROVIDER = "provider", "The provider blocks it (Twilio 21610)"
        UNSUBSCRIBE = "unsubscribe", "Unsubscribed at SendGrid"
        SPAM_REPORT = "spam_report", "Reported as spam"
        BOUNCE = "bounce", "The mailbox does not exist"
        ONE_CLICK = "one_click", "One-click unsubscribe"
        STAFF = "staff", "A member of staff"
        CLIENT = "client", "An API client"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    channel_type = models.CharField(max_length=5, choices=Conversation.ChannelType.choices)
    our_address = models.CharField(max_length=254)
    their_address = models.CharField(max_length=254)
    test = models.BooleanField(default=False, db_default=False, editable=False)
    source = models.CharField(max_length=11, choices=Source.choices)
    opted_out_at = models.DateTimeField()
    lifted_at = models.DateTimeField(null=True, blank=True)
    lifted_by = models.CharField(
        max_length=11, choices={**dict(Source.choices), Source.KEYWORD: "Texted START"}, blank=True
    )

    objects: ClassVar[models.Manager["OptOut"]] = OptOutQuerySet.as_manager()

    class Meta:
        verbose_name = "opt-out"
        constraints = [
            models.UniqueConstraint(
                "channel_type",
                Lower("our_address"),
                Lower("their_address"),
                "test",
                condition=Q(lifted_at__isnull=True),
                name="one_opt_out_in_force_per_pair",
            ),
            models.CheckConstraint(condition=Q(channel_type__in=["sms", "email"]), name="opt_out_channel_in_words"),
        ]
        indexes = [
            models.Index(fields=["-opted_out_at", "-id"], name="opt_outs_latest_first"),
            models.Index(
                fields=["their_address"],
                condition=Q(their_address__startswith=PREFIX, lifted_at__isnull=True),
                name="opt_outs_by_pseudonym",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel_type} opt-out {self.pk}"

    def get_absolute_url(self) -> str:
        """Return its path in the API."""
        return f"/api/v1/opt-outs/{self.id}"
