"""Who asks."""

from typing import Any

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request


class LocalClient:
    """The client that works on its own machine, without a key."""

    is_authenticated = True


class StaffSession(BaseAuthentication):
    """Takes staff who are logged in to the admin and may see files there; for safe methods, as it checks no CSRF."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        """Return the user, or None."""
        user = request._request.user
        allowed = user.is_active and user.is_staff and user.has_perm("conversations.view_media")
        return (user, None) if allowed and request.method in SAFE_METHODS else None


class LocalDevelopment(BaseAuthentication):
    """Takes requests without a key with DEBUG on and a loopback `PUBLIC_URL`, and nobody otherwise."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        """Return the local client, or None, which ends as 401."""
        return (LocalClient(), None) if settings.TRUST_LOCAL_REQUESTS else None

    def authenticate_header(self, request: Request) -> str:
        """Return the challenge that a 401 carries (RFC 6750)."""
        return "Bearer"
