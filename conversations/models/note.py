"""What staff write down beside a conversation."""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

MOST_NOTE_CHARACTERS = 5_000


class Note(models.Model):
    """A remark of a member of staff on a conversation, for other staff: it is sent to nobody and no client sees it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    conversation = models.ForeignKey(
        "conversations.Conversation", on_delete=models.CASCADE, related_name="notes", db_index=False
    )
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    text = models.TextField(max_length=MOST_NOTE_CHARACTERS)
    at = models.DateTimeField(db_default=Now())

    if TYPE_CHECKING:
        author_id: int | None

    class Meta:
        indexes = [models.Index(fields=["conversation", "-at", "-id"], name="notes_of_conversation")]

    def __str__(self) -> str:
        return f"note {self.pk}"
