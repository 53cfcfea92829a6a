"""A conversation: what two addresses say to each other on one channel."""

from typing import Any, ClassVar
from uuid import UUID

from django.apps import apps
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models, transaction
from django.db.models import F, OuterRef, Q, Subquery
from django.db.models.functions import Upper
from django.utils import timezone
from uuid_utils.compat import uuid7

from conversations.addresses import participants_key
from conversations.models.client import of_lane, of_senders
from conversations.models.event import ConversationEvent
from conversations.models.media import delete_files
from conversations.models.status import MAY_HAVE_ARRIVED, Status

IN_CONVERSATIONS, IN_MESSAGES = ("participant_from", "participant_to", "title"), ("subject", "body")
"""Where a search looks."""


def containing_index(field: str, name: str) -> GinIndex:
    """Return an index that answers `icontains`, which asks for UPPER(field), from three characters on."""
    return GinIndex(OpClass(Upper(field), name="gin_trgm_ops"), name=name)


def any_contains(fields: tuple[str, ...], text: str) -> Q:
    """Return a filter for rows that have a text in one of these fields, in any case."""
    found = Q()
    for field in fields:
        found |= Q(**{f"{field}__icontains": text})
    return found


class ConversationQuerySet(models.QuerySet["Conversation"]):
    """How conversations are found."""

    def visible_to(self, client: Any) -> "ConversationQuerySet":
        """Return those that have one of the client's addresses; a test client sees those of tests, no other does."""
        return self.filter(of_senders(client, "participant_from", "participant_to"), of_lane(client))

    @transaction.atomic
    def open_between(self, wish: "Conversation") -> "Conversation":
        """Return the open direct conversation of a wish's pair, or the wish itself once it is saved; a thread is new.

        Of many who ask at once one makes it.
        """
        if wish.type == Conversation.Type.THREAD:
            wish.save()
            return wish.recorded(ConversationEvent.Kind.CREATED)
        wish.take_key()
        pair = self.filter(participants_key=wish.participants_key, type=Conversation.Type.DIRECT)
        found = None
        while found is None:  # again where the one in the way was closed in between
            self.bulk_create([wish], ignore_conflicts=True)
            found = pair.filter(status__in=Conversation.OPEN).first()
        return wish.recorded(ConversationEvent.Kind.CREATED) if found.pk == wish.pk else found

    def containing(self, text: str) -> "ConversationQuerySet":
        """Return those that have a text in a participant, the title, or a message's subject or body, in any case.

        Asked for each alone, as an index answers each and none answers all.
        """
        messages, conversations = apps.get_model("conversations", "Message").objects, Conversation.objects
        ids: list[models.QuerySet[Any, Any]] = [
            *(messages.filter(**{f"{field}__icontains": text}).values("conversation_id") for field in IN_MESSAGES),
            *(conversations.filter(**{f"{field}__icontains": text}).values("pk") for field in IN_CONVERSATIONS),
        ]
        return self.filter(pk__in=ids[0].union(*ids[1:]))

    def newest_containing(self, text: str, limit: int) -> list[UUID]:
        """Return the ids of conversations that have a text where `containing` looks: all of them, unless it is common.

        Of a common text those of its newest `limit` messages, and the newest `limit` that have it themselves. As there
        is an order and a limit, the planner walks the newest rows of a common text and asks an index for a rare one.
        """
        messages = apps.get_model("conversations", "Message").objects.filter(any_contains(IN_MESSAGES, text))
        said = messages.order_by("-created_at", "-id").values_list("conversation_id", flat=True)[:limit]
        newest_first = F("last_message_at").desc(nulls_last=True)
        named = self.filter(any_contains(IN_CONVERSATIONS, text)).order_by(newest_first, "-id")
        return list(dict.fromkeys([*said, *named.values_list("pk", flat=True)[:limit]]))

    def last_written_in(self, participants_key: str) -> UUID | None:
        """Return the open conversation of a pair in which we wrote last; None if we never wrote in one."""
        newest_sent = (
            apps.get_model("conversations", "Message")
            .objects.filter(conversation=OuterRef("pk"), direction="outbound", status__in=MAY_HAVE_ARRIVED)
            .order_by("-created_at")
        )
        written_in = (
            self.filter(participants_key=participants_key, status__in=Conversation.OPEN)
            .annotate(written_at=Subquery(newest_sent.values("created_at")[:1]))
            .filter(written_at__isnull=False)
        )
        return written_in.order_by("-written_at").values_list("pk", flat=True).first()


class Conversation(models.Model):
    """A thread between two addresses.

    Between one pair there is at most one *open* (active or archived) direct conversation, and any number of closed
    ones and of threads; so a lookup by pair asks for the open direct one, or takes many. SMS and MMS share a thread.
    `participant_from` and `participant_to` stand as the first message had them.
    """

    class ChannelType(models.TextChoices):
        """What the two write to each other on."""

        SMS = "sms", "SMS and MMS"
        EMAIL = "email", "Email"

    class Type(models.TextChoices):
        """`direct` is found again by its pair; a `thread` only by its own id."""

        DIRECT = "direct"
        THREAD = "thread"

    class Status(models.TextChoices):
        """A new message wakes an archived conversation; a closed one stays closed, and the pair gets a new one."""

        ACTIVE = "active"
        ARCHIVED = "archived"
        CLOSED = "closed"

    OPEN = (Status.ACTIVE, Status.ARCHIVED)

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    participants_key = models.TextField(editable=False)
    participant_from = models.CharField(max_length=254)
    participant_to = models.CharField(max_length=254)
    channel_type = models.CharField(max_length=5, choices=ChannelType.choices)
    type = models.CharField(max_length=6, choices=Type.choices, default=Type.DIRECT)
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.ACTIVE)
    title = models.CharField(max_length=200, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    test = models.BooleanField(default=False, db_default=False, editable=False)
    last_message_at = models.DateTimeField(null=True, editable=False)
    message_count = models.PositiveIntegerField(default=0, editable=False)
    unread_count = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager["Conversation"]] = ConversationQuerySet.as_manager()

    class Meta:
        permissions = [("reply_conversation", "Can reply in conversations, write notes, mark, archive and close them")]
        constraints = [
            models.UniqueConstraint(
                fields=["participants_key"],
                condition=Q(type="direct", status__in=["active", "archived"]),
                name="one_open_direct_conversation_per_pair",
            ),
            models.CheckConstraint(
                condition=Q(status__in=["active", "archived", "closed"]), name="conversation_status_in_words"
            ),
            models.CheckConstraint(condition=Q(type__in=["direct", "thread"]), name="conversation_type_in_words"),
            models.CheckConstraint(
                condition=Q(channel_type__in=["sms", "email"]), name="conversation_channel_in_words"
            ),
        ]
        indexes = [
            models.Index(F("last_message_at").desc(nulls_last=True), F("id").desc(), name="conversations_latest_first"),
            models.Index(
                F("last_message_at").desc(nulls_last=True),
                F("id").desc(),
                condition=Q(unread_count__gt=0, test=False),
                name="conversations_unread",
            ),
            models.Index(
                fields=["participants_key"],
                condition=Q(status__in=["active", "archived"]),
                name="conversations_of_pair",
            ),
            models.Index(fields=["participant_from", "-last_message_at"], name="conversations_of_sender"),
            models.Index(fields=["participant_to", "-last_message_at"], name="conversations_of_recipient"),
            containing_index("participant_from", "conversations_from_containing"),
            containing_index("participant_to", "conversations_to_containing"),
            containing_index("title", "conversations_title_containing"),
        ]

    def __str__(self) -> str:
        return self.title or f"{self.participant_from} – {self.participant_to}"

    @property
    def participants(self) -> frozenset[str]:
        """Both addresses, comparable whatever their case."""
        return frozenset({self.participant_from.casefold(), self.participant_to.casefold()})

    def get_absolute_url(self) -> str:
        """Return its path in the API."""
        return f"/api/v1/conversations/{self.id}"

    @transaction.atomic
    def change(self, **changes: Any) -> None:
        """Set these fields, and record it; what stands already is no change.

        Raises `IntegrityError` where reopening would make two open conversations of a pair.
        """
        row = Conversation.objects.select_for_update().get(pk=self.pk)
        if all(getattr(row, name) == value for name, value in changes.items()):
            return
        closes = changes.get("status") == Conversation.Status.CLOSED != row.status
        Conversation.objects.filter(pk=self.pk).update(**changes, updated_at=timezone.now())
        self.recorded(ConversationEvent.Kind.CLOSED if closes else ConversationEvent.Kind.UPDATED)

    @transaction.atomic
    def mark_read(self, seen: UUID | None = None) -> bool:
        """Let nothing be unread, or only what came in after a message of it that was seen; return whether that is news.

        Counted under the lock that whoever adds a message takes, so that none is missed.
        """
        row = Conversation.objects.select_for_update().get(pk=self.pk)
        messages = apps.get_model("conversations", "Message").objects.filter(conversation=self)
        last_seen = messages.filter(pk=seen).first()
        later = messages.filter(direction="inbound", created_at__gt=last_seen.created_at) if last_seen else None
        unread = min(later.count(), row.unread_count) if later is not None else 0
        Conversation.objects.filter(pk=self.pk).update(unread_count=unread)
        return unread < row.unread_count

    def mark_unread(self) -> bool:
        """Let it be looked at again; return whether that is news."""
        return bool(Conversation.objects.filter(pk=self.pk, unread_count=0).update(unread_count=1))

    def recorded(self, kind: ConversationEvent.Kind) -> "Conversation":
        """Record what happened to it; return it."""
        ConversationEvent.objects.create(conversation=self, kind=kind)
        return self

    def take_key(self) -> None:
        """Take the key that the participants make."""
        self.participants_key = participants_key(
            self.channel_type, self.participant_from, self.participant_to, test=self.test
        )

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, with the key that the participants make."""
        self.take_key()
        super().save(*args, **kwargs)

    @transaction.atomic
    def erase(self) -> bool:
        """Delete it with its messages and their files; return False, and change nothing, while one may be on its way.

        What waits is not sent any more: no worker can take it while this holds the messages.
        """
        Conversation.objects.select_for_update().filter(pk=self.pk).first()
        messages = apps.get_model("conversations", "Message").objects.filter(conversation=self)
        statuses = messages.select_for_update().order_by("pk").values_list("status", flat=True)
        if {Status.SENDING, Status.UNCERTAIN} & set(statuses):
            return False
        media = apps.get_model("conversations", "Media").objects.filter(message__conversation=self)
        files = [name for name in media.select_for_update().values_list("file", flat=True) if name]
        self.delete()
        transaction.on_commit(lambda: delete_files(files), robust=True)
        return True


def channel_type_of(message_type: str) -> Conversation.ChannelType:
    """Return the kind of conversation that messages of a type belong to: SMS and MMS share one."""
    return Conversation.ChannelType.EMAIL if message_type == "email" else Conversation.ChannelType.SMS


def key_of(message_type: str, sender: str, recipient: str, *, test: bool) -> str:
    """Return the participants key of the conversation that such a message belongs to."""
    return participants_key(channel_type_of(message_type), sender, recipient, test=test)
