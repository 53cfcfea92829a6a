"""Sessions of staff, in the database by a digest of their key: who reads a dump of it can't go on with them.

The key itself is in the cookie alone.
"""

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import SessionBase
from django.utils import timezone

if TYPE_CHECKING:  # a model, and no app is ready when the engine is read
    from django.contrib.sessions.base_session import AbstractBaseSession


def digest(session_key: str) -> str:
    """Return what stands for a key: 160 bits of its SHA-256, all that the column has room for. A key has 165 random
    ones, so that neither guessing it nor finding another of the same digest is any easier for that.
    """
    return sha256(session_key.encode()).hexdigest()[:40]


class SessionStore(db.SessionStore):
    """Django's store (SESSION_ENGINE), but for the name under which a session is kept."""

    # Django's own go to the table by themselves; these call what stands here.
    aload, aexists, adelete = SessionBase.aload, SessionBase.aexists, SessionBase.adelete
    acreate, asave = SessionBase.acreate, SessionBase.asave

    def load(self) -> dict[str, Any]:
        """Return what the session holds; nothing, and forget the key, where there is none or it is over."""
        of_this_key = self.model.objects.filter(session_key=digest(self.session_key or ""))
        kept = of_this_key.filter(expire_date__gt=timezone.now()).first()
        if kept is None:
            self._session_key = None
            return {}
        return self.decode(kept.session_data)

    def exists(self, session_key: str) -> bool:
        """Say whether there is a session of this key."""
        return super().exists(digest(session_key))

    def create_model_instance(self, data: dict[str, Any]) -> "AbstractBaseSession":
        """Return the row to be written."""
        row = super().create_model_instance(data)
        row.session_key = digest(row.session_key)
        return row

    def delete(self, session_key: str | None = None) -> None:
        """End the session of this key, by default this one."""
        key = session_key or self.session_key
        if key is not None:
            super().delete(digest(key))


def forget_expired(**_: Any) -> None:
    """Delete the sessions that are over; told of each login, as nothing else makes any."""
    SessionStore.clear_expired()
