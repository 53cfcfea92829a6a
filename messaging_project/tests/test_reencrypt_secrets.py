"""SECRET_KEY is changed: what can be taken along, and what holds on to the former one."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from conversations.models import OptOut
from conversations.pseudonyms import pseudonym
from conversations.tests.conftest import accept  # noqa: F401
from webhooks import tasks
from webhooks.tests.test_telling import sent, subscribe, subscriber, verified  # noqa: F401

pytestmark = pytest.mark.django_db

US, THEM = "+15551234567", "+15559876543"
NEW_KEY = "another-key-another-key-another-key-anot"


def run():
    out = StringIO()
    call_command("reencrypt_secrets", stdout=out)
    return out.getvalue()


def change_key(settings):
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], NEW_KEY


@pytest.mark.django_db(transaction=True)
def test_once_reencrypted_a_subscribers_secret_signs_without_the_former_key(accept, subscriber, settings):  # noqa: F811
    _, secret = subscribe(subscriber.url, ["message.sent"])
    change_key(settings)
    assert "1 re-encrypted with the present SECRET_KEY, 0 were already" in run()
    assert "0 re-encrypted with the present SECRET_KEY, 1 were already" in run()
    settings.SECRET_KEY_FALLBACKS = []
    sent(accept)
    tasks.tell()
    assert verified(secret, *subscriber.told[0])


def test_a_secret_whose_key_is_gone_is_no_success(subscriber, settings):  # noqa: F811
    subscribe(subscriber.url)
    settings.SECRET_KEY = NEW_KEY
    with pytest.raises(CommandError, match=r"secrets of 1 subscriptions can't be decrypted.* SECRET_KEY_FALLBACKS"):
        run()


def test_a_former_key_that_an_opt_out_hangs_on_is_not_let_go(settings):
    OptOut.objects.opt_out("sms", US, pseudonym(THEM), source="keyword")
    change_key(settings)
    OptOut.objects.opt_out("sms", US, pseudonym("+15550000001"), source="keyword")
    settings.SECRET_KEY_FALLBACKS.append("an-even-older-key-only-for-tests")
    said = run()
    assert "Key 1 of SECRET_KEY_FALLBACKS holds 1 opt-outs of people whose address is not kept: keep it" in said
    assert "Key 2 of SECRET_KEY_FALLBACKS holds 0" in said
    settings.SECRET_KEY_FALLBACKS = []
    with pytest.raises(CommandError, match=r"1 opt-outs .* are not heeded"):
        run()
