"""How a mail's answer finds back to its thread."""

import uuid

import pytest

from conversations import mail_links, receiving
from conversations.models import Conversation, Message
from conversations.quoted_text import quote_begins
from providers.base import InboundMessage

pytestmark = pytest.mark.django_db

ANN, BOB, CAROL = "ann@example.com", "bob@example.com", "carol@example.net"


@pytest.fixture
def mail(accept):
    """Send a mail from Ann to Bob, in a thread of its own; keyword arguments replace or add values."""

    def sent(conversation_type="thread", **values):
        usual = {"type": "email", "sender": ANN, "recipient": BOB, "provider": "sendgrid"}
        return accept(conversation_type, **{**usual, **values})

    return sent


@pytest.fixture
def domain(settings):
    settings.INBOUND_EMAIL_DOMAIN = "in.example.com"


def answer(key="k1", **values):
    usual = {"channel": "email", "sender": BOB, "recipient": ANN, "body": "Hi", "provider_message_id": key}
    return receiving.receive("sendgrid", InboundMessage(**{**usual, **values}))


def test_a_mail_carries_its_own_message_id_and_a_way_back(mail, domain):
    outbound = mail().as_outbound()
    assert outbound.message_id_header == f"<{outbound.message_id}@example.com>"
    assert outbound.reply_to == mail_links.reply_address(outbound.message_id)
    assert outbound.reply_to.endswith("@in.example.com")
    assert len(outbound.reply_to.partition("@")[0]) <= 64


def test_without_an_inbound_domain_there_is_no_reply_to(mail):
    assert mail().as_outbound().reply_to == ""


def test_an_answer_names_what_it_answers(mail):
    asked = answer(message_id_header="<q@mail.example>", references=("<first@mail.example>",))
    told = mail("direct", parent=asked).as_outbound()
    assert told.references == ("<first@mail.example>", "<q@mail.example>")


def test_a_text_carries_no_mail_headers(accept, domain):
    outbound = accept().as_outbound()
    assert (outbound.message_id_header, outbound.reply_to, outbound.references) == ("", "", ())


def test_an_answer_to_the_plus_address_goes_to_its_thread(mail, domain):
    one, _newer = mail(), mail()
    reply = answer(recipient=mail_links.reply_address(one.id).upper(), sender=CAROL)
    assert (reply.conversation_id, reply.parent_id, reply.recipient) == (one.conversation_id, one.id, ANN)


def test_a_forged_plus_address_leads_nowhere(mail, domain):
    one = mail()
    address = mail_links.reply_address(one.id)
    forged = address[:10] + ("a" if address[10] != "a" else "b") + address[11:]
    assert answer(recipient=forged).conversation_id != one.conversation_id


@pytest.mark.parametrize(
    "address", ["reply+@in.example.com", "reply+" + "1" * 42 + "@in.example.com", "ann@in.example.com"]
)
def test_other_addresses_of_the_domain_are_no_plus_addresses(domain, address):
    assert mail_links.message_replied_to(address) is None


@pytest.mark.parametrize("header", ["in_reply_to", "references"])
def test_an_answer_that_names_our_mail_goes_to_its_thread(mail, header):
    one, _newer = mail(), mail()
    named = one.message_id_header
    reply = answer(**{header: named if header == "in_reply_to" else ("<x@y>", named)})
    assert (reply.conversation_id, reply.parent_id) == (one.conversation_id, one.id)


def test_an_answer_that_names_an_earlier_mail_of_theirs_goes_to_its_thread(mail):
    thread = mail()
    mail()
    first = answer(in_reply_to=thread.message_id_header, message_id_header="<one@theirs>")
    again = answer("k2", in_reply_to="<one@theirs>")
    assert again.conversation_id == first.conversation_id == thread.conversation_id


def test_a_stranger_who_names_our_mail_does_not_get_into_the_thread(mail):
    one = mail()
    assert answer(sender=CAROL, in_reply_to=one.message_id_header).conversation_id != one.conversation_id


def test_a_mail_that_names_nothing_goes_to_the_pairs_conversation(mail):
    direct = mail("direct")
    mail()
    assert answer(in_reply_to=f"<{uuid.uuid4()}@example.com>").conversation_id == direct.conversation_id


def test_an_answer_into_a_closed_thread_opens_the_pairs_conversation(mail, domain):
    one = mail()
    Conversation.objects.update(status="closed")
    reply = answer(recipient=mail_links.reply_address(one.id))
    assert reply.conversation_id != one.conversation_id
    assert (reply.conversation.status, reply.conversation.participants) == ("active", {ANN, BOB})


def test_an_automatic_mail_is_marked():
    assert Message.objects.get(pk=answer(automatic=True).pk).automatic


def test_a_plus_address_counts_among_other_recipients(mail, domain):
    one = mail()
    reply = answer(
        recipient="office@in.example.com", recipients=("office@in.example.com", mail_links.reply_address(one.id))
    )
    assert (reply.parent_id, reply.recipient) == (one.id, ANN)


def test_an_answer_to_a_deleted_mail_still_finds_its_thread_by_its_headers(mail, domain):
    one, gone = mail(), mail()
    address = mail_links.reply_address(gone.id)
    gone.delete()
    assert answer(recipient=address, in_reply_to=one.message_id_header).conversation_id == one.conversation_id


def test_links_survive_a_new_secret_key(mail, domain, settings):
    address = mail_links.reply_address(mail().id)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new key", [settings.SECRET_KEY]
    assert mail_links.message_replied_to(address)
    settings.SECRET_KEY_FALLBACKS = []
    assert mail_links.message_replied_to(address) is None


def test_a_text_without_end_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(receiving, "MOST_TEXT", 10)
    message = answer(body="x" * 11)
    assert (message.body, message.events.last().status) == ("x" * 10, "cut")


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", ["On " * 5000, "On a\n" * 20_000, "\n" * 200_000, "> " * 100_000, "El " * 5000])
def test_a_hostile_text_takes_no_longer_to_read_than_it_takes_to_send(text):
    assert quote_begins(text) > 0


def test_a_message_id_too_long_to_be_found_again_is_not_kept():
    assert answer(message_id_header="<" + "ü" * 900 + "@x>").message_id_header == ""


def test_the_quoted_part_is_told_from_the_new_one_and_all_is_kept():
    body = "Yes, Tuesday.\n\nOn Mon, Nov 3, 2025 at 9:00 AM Ann <ann@example.com> wrote:\n> Tuesday?"
    message = Message.objects.get(pk=answer(body=body).pk)
    assert (message.body, message.newly_written) == (body, "Yes, Tuesday.")


@pytest.mark.parametrize(
    ("text", "new"),
    [
        ("Danke!\n\nAm 03.11.2025 um 09:00 schrieb Ann <ann@example.com>:\n> Hallo", "Danke!"),
        ("Yes\r\n\r\nOn Mon, Nov 3, 2025 at 9:00 AM Ann\r\n<ann@example.com> wrote:\r\n> Hi", "Yes"),
        ("Good\n\n\n\nFrom: Ann <ann@example.com>\nSent: Monday\nTo: Bob\nSubject: Hi\n\nHello", "Good"),
        ("Fine.\n\n> Tuesday?\n> Or Friday?\n", "Fine."),
        ("> Tuesday?\nYes\n> Friday?\nNo", "> Tuesday?\nYes\n> Friday?\nNo"),
        ("From: my heart\nthanks", "From: my heart\nthanks"),
        ("> only quoted", "> only quoted"),
        ("", ""),
    ],
)
def test_what_is_new_in_a_mail(text, new):
    assert text[: quote_begins(text)] == new
