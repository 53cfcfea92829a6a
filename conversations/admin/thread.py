"""A conversation as people read one: messages and notes in their order, a page of them at a time."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db.models import Case, Count, QuerySet, Value, When
from django.utils import timezone

from conversations.api.media import SHOWN_INLINE
from conversations.api.paging import Page, read_cursor
from conversations.models import Conversation, Media, Message, Note, OptOut
from conversations.models.intervention import RETRYABLE
from conversations.models.media import MEDIA_PATH
from conversations.models.status import NOT_REACHED, Status
from conversations.models.work_list import may_have_been_sent

SHOWN_AT_ONCE = 50
MOST_NOTES = 200
SHOWN_CHARACTERS = 2_000
ENDED_BADLY = frozenset({*NOT_REACHED, Status.EXPIRED}) - {Status.UNRESOLVED}
IN_DOUBT = frozenset({Status.UNCERTAIN, Status.UNRESOLVED})


@dataclass(frozen=True)
class Entry:
    """One line of a thread: a message with its files, or a note."""

    at: datetime
    message: Message | None = None
    note: Note | None = None
    media: Sequence[Media] = ()
    may_have_been_sent: bool = False

    @property
    def key(self) -> str:
        """Its id on the page."""
        return f"message-{self.message.pk}" if self.message else f"note-{self.note.pk}" if self.note else ""

    @property
    def version(self) -> str:
        """What changes whenever it has to be shown anew."""
        if self.message is None:
            return "1"
        waiting = sum(each.status == Media.Status.WAITING for each in self.media)
        return f"{self.message.updated_at.timestamp()}-{waiting}"

    @property
    def text(self) -> str:
        """What its author wrote, as far as it is shown at once."""
        return self.message.newly_written[:SHOWN_CHARACTERS].strip() if self.message else ""

    @property
    def rest(self) -> str:
        """What its author wrote beyond that."""
        return self.message.newly_written[SHOWN_CHARACTERS:] if self.message else ""

    @property
    def pictures(self) -> list[Media]:
        """The files that browsers draw."""
        return [each for each in self.media if is_stored(each) and each.content_type in SHOWN_INLINE]

    @property
    def files(self) -> list[Media]:
        """The other files: to be downloaded, still to come, or not to be had."""
        return [each for each in self.media if not (is_stored(each) and each.content_type in SHOWN_INLINE)]

    @property
    def links(self) -> list[str]:
        """What we sent along by its address on strangers' servers, of which nothing is loaded here."""
        attachments = self.message.attachments if self.message else []
        return [each for each in attachments if not each.startswith(MEDIA_PATH)]

    @property
    def is_retryable(self) -> bool:
        """Whether it can be sent again."""
        message = self.message
        return message is not None and message.status in RETRYABLE and message.redacted_at is None

    @property
    def may_arrive_twice(self) -> bool:
        """Whether somebody could get it a second time if it was sent again."""
        return self.may_have_been_sent or (self.message is not None and self.message.status == Status.UNRESOLVED)

    @property
    def ended_badly(self) -> bool:
        """Whether nobody got it."""
        return self.message is not None and self.message.status in ENDED_BADLY

    @property
    def is_in_doubt(self) -> bool:
        """Whether nobody can tell whether somebody got it."""
        return self.message is not None and self.message.status in IN_DOUBT

    @property
    def is_scheduled(self) -> bool:
        """Whether it waits for its time."""
        message = self.message
        return bool(
            message and message.status == Status.PENDING and message.send_at and message.send_at > timezone.now()
        )


def is_stored(media: Media) -> bool:
    """Say whether a file can be had."""
    return media.status == Media.Status.STORED


@dataclass(frozen=True)
class Sides:
    """Which of a conversation's two addresses is ours, as its newest inbound message has it, else its newest one.

    `newest` is that message, None in a conversation without messages: there the first address is ours.
    """

    ours: str
    theirs: str
    newest: Message | None

    @classmethod
    def of(cls, conversation: Conversation) -> "Sides":
        """Look at the newest messages of a conversation."""
        newest_first = messages_of(conversation).order_by("-created_at", "-id")
        newest = newest_first.filter(direction=Message.Direction.INBOUND).first() or newest_first.first()
        if newest is None:
            return cls(conversation.participant_from, conversation.participant_to, None)
        return cls(newest.our_address, newest.their_address, newest)


def messages_of(conversation: Conversation) -> QuerySet[Message]:
    """Return the messages of a conversation, without their HTML, which may be long and is asked for by itself."""
    has_html = Case(When(html="", then=Value(False)), default=Value(True))
    messages: QuerySet[Message] = (
        Message.objects.filter(conversation=conversation)
        .annotate(has_html=has_html)
        .defer("html", "metadata", "reference_headers")
        .select_related("author")
    )
    return messages


@dataclass
class Thread:
    """A page of a conversation, oldest first; without a cursor the newest one. `older` is the cursor of the next."""

    conversation: Conversation
    cursor: str = ""
    entries: list[Entry] = field(init=False)
    older: str | None = field(init=False)

    def __post_init__(self) -> None:
        """Load it. Raises `InvalidQuery` for what is no cursor."""
        after = read_cursor(self.cursor) if self.cursor else None
        page = Page(limit=SHOWN_AT_ONCE, offset=0, after=after)
        messages, self.older = page.take(messages_of(self.conversation), "created_at")
        media = defaultdict(list)
        for each in Media.objects.filter(message__in=[message.pk for message in messages]):
            media[each.message_id].append(each)
        doubted = doubted_of(messages)
        shown = [
            Entry(each.created_at, message=each, media=media[each.pk], may_have_been_sent=each.pk in doubted)
            for each in messages
        ]
        shown += [Entry(each.at, note=each) for each in self._notes(messages, after)]
        self.entries = sorted(shown, key=lambda entry: (entry.at, entry.key))

    def _notes(self, messages: list[Message], after: tuple[datetime | None, UUID] | None) -> QuerySet[Note]:
        notes = self.conversation.notes.select_related("author").order_by("-at")
        if self.older:
            notes = notes.filter(at__gte=messages[-1].created_at)
        if after and after[0]:
            notes = notes.filter(at__lt=after[0])
        return notes[:MOST_NOTES]


def doubted_of(messages: Sequence[Message]) -> set[UUID]:
    """Return the ids of those that can be sent again and may have been sent already."""
    retryable = [each.pk for each in messages if each.status in RETRYABLE]
    found = may_have_been_sent(Message.objects.filter(pk__in=retryable)) if retryable else Message.objects.none()
    return set(found.values_list("pk", flat=True))


def opt_out_between(conversation: Conversation, sides: Sides) -> OptOut | None:
    """Return why nothing may be sent to the other side; None where it may."""
    between = OptOut.objects.between(conversation.channel_type, sides.ours, sides.theirs, test=conversation.test)
    return between.in_force().first()


def state_of(conversation: Conversation) -> str:
    """Return what changes whenever something of the newest page or of its head does, in as few rows as tell it."""
    newest = Message.objects.filter(conversation=conversation).order_by("-created_at", "-id")[:SHOWN_AT_ONCE]
    messages = list(newest.values_list("pk", "updated_at"))
    waiting = Media.objects.filter(message__in=[pk for pk, _ in messages], status=Media.Status.WAITING).count()
    notes = conversation.notes.aggregate(count=Count("pk"))["count"]
    one, other = conversation.participant_from, conversation.participant_to
    opt_outs = [
        OptOut.objects.between(conversation.channel_type, *pair, test=conversation.test).in_force().exists()
        for pair in ((one, other), (other, one))
    ]
    head: list[Any] = [conversation.status, conversation.title, conversation.unread_count, conversation.message_count]
    return sha256(repr((messages, waiting, notes, opt_outs, head)).encode()).hexdigest()
