"""Where an unsubscribe link leads (RFC 8058): one click by the mail program, or a button for who opens it."""

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from conversations import mail_links
from conversations.models import Message, OptOut
from conversations.pseudonyms import REDACTED


# The token is the proof; mail programs post without cookies (RFC 8058, 3.2).
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Opt the recipient of a mail out by POST, at once and as often as it comes; a GET only asks, as scanners open
    every link. 404 for a token that is none of ours, and of a mail whose recipient was erased.
    """
    message_id = mail_links.message_unsubscribed_from(token)
    if message_id is None:
        raise Http404
    message = get_object_or_404(Message.objects.exclude(recipient=REDACTED), pk=message_id)
    if request.method == "POST":
        message.opt_recipient_out(OptOut.Source.ONE_CLICK)
    is_done = OptOut.objects.between("email", message.sender, message.recipient, test=message.test).in_force().exists()
    return render(request, "unsubscribe.html", {"message": message, "is_done": is_done})
