"""Who may use the API, and with which keys."""

import secrets
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from conversations.addresses import InvalidAddress, normalise_sender

PREFIX = "sb_"
SHOWN_CHARACTERS = 10
USE_IS_NOTED_EVERY = timedelta(minutes=1)
REMEMBERED_SECONDS = 1.0
MOST_REMEMBERED = 10_000


class Scope(models.TextChoices):
    """What a key allows. `admin` allows everything."""

    MESSAGES_SEND = "messages:send", "Send messages, and change those that wait"
    MESSAGES_READ = "messages:read", "Read messages, conversations, files and opt-outs"
    CONVERSATIONS_WRITE = "conversations:write", "Change conversations and opt-outs"
    WEBHOOKS_MANAGE = "webhooks:manage", "Manage what is told to whom"
    ADMIN = "admin", "Everything"


class Client(models.Model):
    """Somebody who uses the API.

    With a list of `senders` it sends from those addresses and sees the conversations that have one of them; with an
    empty one it sends from any and sees everything. What a `test` client sends goes to the sandbox and to nobody else;
    it sees tests only, and no other client does.
    """

    name = models.CharField(max_length=100, unique=True)
    senders = ArrayField(
        models.CharField(max_length=254),
        default=list,
        blank=True,
        help_text="Addresses that it sends from, comma-separated. It sees their conversations only. Empty for all.",
    )
    test = models.BooleanField(
        default=False, db_default=False, help_text="Its messages go to the sandbox. It sees nothing that is real."
    )
    requests_per_minute = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)], help_text="Empty for API_REQUESTS_PER_MINUTE."
    )
    disabled_at = models.DateTimeField(null=True, blank=True, help_text="Set, none of its keys is taken.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    is_authenticated = True

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """Normalise the senders as messages keep them. Raises `ValidationError` for what is no address."""
        try:
            self.senders = list(dict.fromkeys(normalise_sender(each) for each in self.senders))
        except InvalidAddress as error:
            raise ValidationError({"senders": str(error)}) from None

    def may_send_from(self, sender: str) -> bool:
        """Say whether a normalised address is one of its own."""
        return not self.senders or sender.casefold() in {each.casefold() for each in self.senders}


def of_senders(client: Any, *fields: str) -> Q:
    """Return a filter for rows that have one of a client's addresses in one of these fields.

    Everything for a client without a list, and for staff.
    """
    mine = Q()
    for sender in getattr(client, "senders", ()):
        for field in fields:
            mine |= Q(**{f"{field}__iexact": sender})
    return mine


def of_lane(client: Any, field: str = "test") -> Q:
    """Return a filter for rows of tests for a test client, for others of no test; for everything for staff."""
    test = getattr(client, "test", None)
    return Q() if test is None else Q(**{field: test})


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """How keys are made and found again."""

    def make(self, client: Client, scopes: Sequence[str], expires_at: datetime | None = None) -> tuple["ApiKey", str]:
        """Make a key of 256 random bits; return its row and the key itself, which is kept nowhere."""
        key = f"{PREFIX}{secrets.token_urlsafe(32)}"
        row = self.create(
            client=client,
            prefix=key[:SHOWN_CHARACTERS],
            digest=digest_of(key),
            scopes=sorted(set(scopes)),
            expires_at=expires_at,
        )
        return row, key

    def shown(self, key: str) -> "ApiKey | None":
        """Return the row of a key that somebody shows, with its client; None if there is no such key.

        It is found by its digest: how long that takes tells nothing about any key. A key that was found is remembered
        for a second, so that a change to it or to its client may take that long to be seen everywhere.
        """
        digest = digest_of(key)
        forgotten_at, row = _remembered.get(digest, (0.0, None))
        if time.monotonic() < forgotten_at:
            return row
        row = self.select_related("client").filter(digest=digest).first()
        if row is not None:
            if len(_remembered) >= MOST_REMEMBERED:
                _remembered.clear()
            _remembered[digest] = (time.monotonic() + REMEMBERED_SECONDS, row)
        return row


_remembered: dict[str, tuple[float, "ApiKey"]] = {}


def digest_of(key: str) -> str:
    """Return what is kept of a key. 256 random bits need neither salt nor a slow hash."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class ApiKey(models.Model):
    """One key of a client. A client may have several at once, so that one can replace another."""

    client = models.ForeignKey(Client, on_delete=models.CASCADE, related_name="keys")
    prefix = models.CharField("begins with", max_length=SHOWN_CHARACTERS, editable=False)
    digest = models.CharField("SHA-256", max_length=64, unique=True, editable=False)
    scopes = ArrayField(models.CharField(max_length=30, choices=Scope.choices))
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[models.Manager["ApiKey"]] = ApiKeyQuerySet.as_manager()

    if TYPE_CHECKING:
        client_id: int

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.prefix}…"

    @property
    def refusal(self) -> tuple[str, str] | None:
        """Why it is not taken now, as a stable code and a sentence; None if it is."""
        now = timezone.now()
        if self.revoked_at is not None and self.revoked_at <= now:
            return "key_revoked", "This key was revoked. Use another."
        if self.expires_at is not None and self.expires_at <= now:
            return "key_expired", "This key has expired. Make a new one."
        if self.client.disabled_at is not None and self.client.disabled_at <= now:
            return "client_disabled", "This client is disabled."
        return None

    def allows(self, scope: str) -> bool:
        """Say whether it has a scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def note_use(self) -> None:
        """Remember that it was used, to the minute: a write for every request would cost more than it tells."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at > USE_IS_NOTED_EVERY:
            ApiKey.objects.filter(pk=self.pk).update(last_used_at=now)
            self.last_used_at = now
