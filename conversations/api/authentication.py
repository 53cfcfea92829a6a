"""Who asks, and what they may do."""

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from conversations.models import ApiKey

if TYPE_CHECKING:  # it imports what the settings name, and they name this module
    from rest_framework.views import APIView


class LocalClient:
    """The client that works on its own machine, without a key. It may do everything and sees everything."""

    is_authenticated = True
    name = "local development"
    pk = None
    senders: tuple[str, ...] = ()
    test = False

    @property
    def requests_per_minute(self) -> int:
        """Return what the settings allow it."""
        return int(settings.LOCAL_REQUESTS_PER_MINUTE)

    def may_send_from(self, sender: str) -> bool:
        """Say yes."""
        return True


class KeyAuthentication(BaseAuthentication):
    """Takes `Authorization: Bearer <key>` and `X-API-Key: <key>`."""

    def authenticate(self, request: Request) -> tuple[Any, ApiKey] | None:
        """Return the key's client and the key, None where no key is shown.

        Raises `AuthenticationFailed`, with a code that says why, for one that is not taken: a wrong key is never
        ignored, also where none is needed.
        """
        shown = keys_shown(request)
        if not shown:
            return None
        if len(shown) > 1:
            raise AuthenticationFailed("Show one key, not two different ones.", code="two_keys")
        key = ApiKey.objects.shown(shown.pop())
        if key is None:
            raise AuthenticationFailed("There is no such key.", code="invalid_key")
        if key.refusal is not None:
            code, sentence = key.refusal
            raise AuthenticationFailed(sentence, code=code)
        key.note_use()
        return key.client, key

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge that a 401 carries (RFC 6750)."""
        return "Bearer"


def keys_shown(request: Request) -> set[str]:
    """Return the keys in the request's headers; a Bearer of nothing, as an unset variable makes it, is none.

    Raises `AuthenticationFailed` for another scheme than Bearer.
    """
    shown = set()
    if authorization := request.headers.get("Authorization"):
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise AuthenticationFailed("Show the key as: Authorization: Bearer <key>.", code="invalid_authorization")
        if key := key.strip():
            shown.add(key)
    if key := request.headers.get("X-API-Key", "").strip():
        shown.add(key)
    return shown


class LocalDevelopment(BaseAuthentication):
    """Takes requests without a key with DEBUG on and a loopback `PUBLIC_URL`, and nobody otherwise."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        """Return the local client, or None, which ends as 401."""
        return (LocalClient(), None) if settings.TRUST_LOCAL_REQUESTS else None


class StaffSession(BaseAuthentication):
    """Takes staff who are logged in to the admin and may see files there; for safe methods, as it checks no CSRF."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        """Return the user, or None."""
        user = request._request.user
        allowed = user.is_active and user.is_staff and user.has_perm("conversations.view_media")
        return (user, None) if allowed and request.method in SAFE_METHODS else None


class HasScope(BasePermission):
    """Holds a key to the scopes that a view names for its methods in `scopes`."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """Return True, also for a method that the view has not: that ends as 405.

        Raises `PermissionDenied` naming the scope that is missing, `ImproperlyConfigured` for a view that names none.
        """
        if not request.user:
            return False
        method = "GET" if request.method == "HEAD" else str(request.method)
        if method == "OPTIONS" or not hasattr(view, method.lower()):
            return True
        scope = getattr(view, "scopes", {}).get(method)
        if scope is None:
            raise ImproperlyConfigured(f"{type(view).__name__} names no scope for {method}.")
        if isinstance(request.auth, ApiKey) and not request.auth.allows(scope):
            raise PermissionDenied(f"This key lacks the scope {scope}.", code="scope_missing")
        return True
