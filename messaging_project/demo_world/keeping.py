"""Saving a demo world, and taking it away again."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from django.db import models, transaction
from django.db.models import Exists, OuterRef, Q

from conversations.models import Conversation, ConversationEvent, Media, Message, MessageEvent, OptOut
from conversations.models.media import delete_files
from messaging_project.demo_world.world import MARK, World
from messaging_project.progress import Progress

AT_ONCE = 200
Begin = Callable[[str, int], Progress]


def demo_conversations() -> models.QuerySet[Conversation]:
    """Return the conversations of a demo world that is here."""
    return Conversation.objects.filter(metadata__has_key=MARK)


def save(world: World, begin: Begin) -> None:
    """Save a world with its files, all or nothing; `begin` begins a step by its name and size.

    Raises `IntegrityError` where its people write with its businesses already.
    """
    stored: list[Media] = []
    try:
        with transaction.atomic():
            store_files(world, stored, begin)
            save_conversations(world, begin)
            insert("messages", Message.objects, world.messages, begin)
            insert("timelines", MessageEvent.objects, world.events, begin)
            Media.objects.bulk_create(stored)
            ConversationEvent.objects.bulk_create(world.conversation_events)
            OptOut.objects.bulk_create(world.opt_outs)
    except BaseException:
        delete_files([str(each.file) for each in stored if each.file])
        raise


def store_files(world: World, stored: list[Media], begin: Begin) -> None:
    """Put what came with messages into the storage, as what comes in is, and let the messages name it."""
    by_id = {message.id: message for message in world.messages}
    with begin("pictures and files", len(world.files)) as step:
        for message_id, file in world.files.items():
            message = by_id[message_id]
            (media,) = Media.objects.store([file], f"media/{message.provider_message_id}")
            media.message, media.created_at = message, message.created_at
            message.attachments = [media.get_absolute_url()]
            stored.append(media)
            step.advance()


def save_conversations(world: World, begin: Begin) -> None:
    """Save the conversations with the times that they have: by themselves they would all be of now."""
    times = [(each.created_at, each.updated_at) for each in world.conversations]
    insert("conversations", Conversation.objects, world.conversations, begin)
    for conversation, (created_at, updated_at) in zip(world.conversations, times, strict=True):
        conversation.created_at, conversation.updated_at = created_at, updated_at
    Conversation.objects.bulk_update(world.conversations, ["created_at", "updated_at"], batch_size=AT_ONCE)


def insert(step: str, objects: models.Manager[Any], rows: Sequence[Any], begin: Begin) -> None:
    """Insert rows, some at a time."""
    with begin(step, len(rows)) as progress:
        for some in batches(rows):
            objects.bulk_create(some)
            progress.advance(len(some))


def batches(rows: Sequence[Any]) -> Iterator[list[Any]]:
    """Yield rows, some at a time."""
    remaining = iter(rows)
    while some := list(islice(remaining, AT_ONCE)):
        yield some


@transaction.atomic
def remove() -> int:
    """Take the demo world away, with what was written in it since, its opt-outs and its files; return how many
    conversations it had.
    """
    demo = demo_conversations()
    named = Media.objects.filter(message__conversation__in=demo).values_list("file", flat=True)
    files = [name for name in named if name]
    pair = Q(participant_from=OuterRef("our_address"), participant_to=OuterRef("their_address"))
    pair |= Q(participant_from=OuterRef("their_address"), participant_to=OuterRef("our_address"))
    OptOut.objects.filter(Exists(demo.filter(pair, channel_type=OuterRef("channel_type")))).delete()
    count = demo.count()
    demo.delete()
    transaction.on_commit(lambda: delete_files(files), robust=True)
    return count
