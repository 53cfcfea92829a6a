"""Where links to files that we sent along lead: Twilio and the readers of mails come here, without a key."""

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe
from rest_framework.exceptions import APIException

from conversations import media_links
from conversations.api.media import SHOWN_INLINE, file_response
from conversations.models import Media, Message


@require_safe
def sent_file(request: HttpRequest, token: str) -> HttpResponseBase:
    """Answer a file that went out with a message. 404 for a link that is none of ours, or too old.

    Its type is the one that it was sent with, as Twilio takes no other; browsers draw pictures, and save the rest.
    """
    named = media_links.named_by(token)
    if named is None:
        raise Http404
    message_id, media_id = named
    outbound = Media.objects.filter(message_id=message_id, message__direction=Message.Direction.OUTBOUND)
    media = get_object_or_404(outbound, pk=media_id, status=Media.Status.STORED)
    try:
        response = file_response(media, media.content_type, inline=media.content_type in SHOWN_INLINE)
    except APIException as error:
        return HttpResponse(str(error.detail), status=error.status_code, content_type="text/plain")
    response["X-Robots-Tag"] = "noindex"
    return response
