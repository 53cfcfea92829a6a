"""The WSGI application, for gunicorn."""

import os
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "messaging_project.settings")


class Request(WSGIRequest):
    """A request whose Content-Type can't hurt.

    Django parses it before any middleware runs and takes its charset for that of the query string too: a broken one
    crashed every path, and so did `charset=base64`. Nothing here is read in another charset than UTF-8, apart from
    mails, whose reader looks at the header itself.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except Exception:  # a stranger wrote it
            self.content_type, self.content_params = "", {}
        self._encoding = None


class Application(WSGIHandler):
    """Django's own, for such requests."""

    request_class = Request


django.setup(set_prefix=False)
application = Application()
