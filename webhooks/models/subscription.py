"""Who wants to be told of what, and where."""

import base64
import json
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone
from uuid_utils.compat import uuid7

from conversations.models import Client
from conversations.models.event import snapshot_at_writing

logger = logging.getLogger(__name__)

MESSAGE_EVENTS = (
    "received",
    "sent",
    "delivered",
    "undelivered",
    "failed",
    "uncertain",
    "unresolved",
    "expired",
    "canceled",
    "possible_duplicate",
    "opted_out",
    "opted_in",
)
"""What of a message's timeline can be subscribed to, as `message.<word>`."""

CONVERSATION_EVENTS = ("created", "updated", "closed")
"""What of a conversation can be subscribed to, as `conversation.<word>`."""

EVENT_TYPES = [
    *(f"message.{word}" for word in MESSAGE_EVENTS),
    *(f"conversation.{word}" for word in CONVERSATION_EVENTS),
]

SECRET_BYTES = 32
SECRET_OVERLAP = timedelta(days=1)
# So many failures in a row, and a subscriber is tried by one delivery at a time.
FAILURES_THAT_HOLD = 5


class SubscriptionQuerySet(models.QuerySet["Subscription"]):
    """How subscriptions are found."""

    def of_client(self, client: Any) -> "SubscriptionQuerySet":
        """Return those of a client; those without one belong to who works without a key."""
        return self.filter(client_id=client.pk)


class Subscription(models.Model):
    """One URL of a client, and the types of events that it is told of.

        enabled ──▶ disabled    it was failing for days, said 410, or somebody said so
           ▲            │
           └────────────┘       somebody says so: what waited meanwhile is told then

    Secrets are kept encrypted with a key that follows from SECRET_KEY, since signing needs them as they are.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    client = models.ForeignKey(Client, null=True, on_delete=models.CASCADE, related_name="subscriptions")
    url = models.CharField("URL", max_length=2048)
    events = ArrayField(models.CharField(max_length=40))
    encrypted_secrets = models.TextField(editable=False)
    since = models.TextField(db_default=snapshot_at_writing(), editable=False)
    enabled_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    disabled_at = models.DateTimeField(null=True, blank=True)
    disabled_because = models.CharField(max_length=200, blank=True)
    failures = models.PositiveIntegerField(default=0, editable=False)
    failing_since = models.DateTimeField(null=True, editable=False)
    retry_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[models.Manager["Subscription"]] = SubscriptionQuerySet.as_manager()

    if TYPE_CHECKING:
        client_id: int | None

    def __str__(self) -> str:
        return self.url

    def get_absolute_url(self) -> str:
        """Return its path in the API."""
        return f"/api/v1/subscriptions/{self.id}"

    @property
    def status(self) -> str:
        """`disabled`, `failing` while its last delivery failed, else `enabled`."""
        if self.disabled_at is not None:
            return "disabled"
        return "failing" if self.failing_since else "enabled"

    def sees(self, message_or_conversation: Any) -> bool:
        """Say whether it may be told of a message or conversation, by whose it is and whether it is of a test."""
        if message_or_conversation.test != (self.client.test if self.client else False):
            return False
        senders = {each.casefold() for each in self.client.senders} if self.client else set()
        conversation = getattr(message_or_conversation, "conversation", message_or_conversation)
        return not senders or bool(senders & conversation.participants)

    def new_secret(self) -> str:
        """Make a secret and return it; what was signed with the one before stays good for a day. Not saved."""
        secret = f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}"
        now = timezone.now()
        older = self.signing_secrets()[:1] if self.encrypted_secrets else []
        kept = [(secret, None), *((each, now + SECRET_OVERLAP) for each in older)]
        text = json.dumps([[each, until.isoformat() if until else None] for each, until in kept])
        self.encrypted_secrets = _cipher().encrypt(text.encode()).decode()
        return secret

    def signing_secrets(self) -> Sequence[str]:
        """Return the secrets that are good now, the newest first; none when SECRET_KEY was lost."""
        now = timezone.now()
        try:
            return [secret for secret, until in self._secrets() if until is None or until > now]
        except InvalidToken:
            return []

    def reencrypt_secrets(self) -> bool:
        """Encrypt the secrets with the present SECRET_KEY, and save them; return whether a former one had done it.

        A secret that somebody makes meanwhile stays. Raises `InvalidToken` when their SECRET_KEY was lost.
        """
        token = self.encrypted_secrets.encode()
        with suppress(InvalidToken):
            _ciphers()[0].decrypt(token)
            return False
        unchanged = type(self).objects.filter(pk=self.pk, encrypted_secrets=self.encrypted_secrets)
        return bool(unchanged.update(encrypted_secrets=_cipher().rotate(token).decode()))

    def _secrets(self) -> list[tuple[str, datetime | None]]:
        kept = json.loads(_cipher().decrypt(self.encrypted_secrets.encode()))
        return [(secret, datetime.fromisoformat(until) if until else None) for secret, until in kept]

    def disable(self, because: str) -> None:
        """Tell it nothing more until somebody enables it."""
        self.disabled_at, self.disabled_because = timezone.now(), because[:200]
        logger.error("a subscription is disabled: %s", because, extra={"subscription_id": self.pk})

    def enable(self) -> None:
        """Tell it again, as if it had never failed, and at once what waited meanwhile, for as long as if it were new.

        Not saved.
        """
        self.disabled_at, self.disabled_because, self.enabled_at = None, "", timezone.now()
        self._tell_at_once()
        self.forgive()

    def gives_up_at(self, give_up_at: datetime) -> datetime:
        """Return when a delivery is given up that was to be at a time: later where it was enabled again meanwhile."""
        if self.enabled_at is None:
            return give_up_at
        return max(give_up_at, self.enabled_at + timedelta(seconds=settings.EVENT_GIVE_UP_SECONDS))

    def forgive(self) -> None:
        """Forget its failures; where it was held, what was put off is due now. Not saved.

        Not after any failure: a delivery that can't be taken would be tried again whenever another one is.
        """
        if self.failures >= FAILURES_THAT_HOLD:
            self._tell_at_once()
        self.failures, self.failing_since, self.retry_at = 0, None, None

    def _tell_at_once(self) -> None:
        now = timezone.now()
        self.deliveries.filter(next_attempt_at__gt=now).update(next_attempt_at=now)


def _cipher() -> MultiFernet:
    """The newest SECRET_KEY encrypts; those in SECRET_KEY_FALLBACKS still decrypt."""
    return MultiFernet(_ciphers())


def _ciphers() -> list[Fernet]:
    """One for each SECRET_KEY, the newest first."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    derived = (sha256(f"switchboard subscription secrets {key}".encode()).digest() for key in keys)
    return [Fernet(base64.urlsafe_b64encode(each)) for each in derived]
