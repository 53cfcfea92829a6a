"""Mail as SendGrid's Inbound Parse posts it, parsed and raw, whole and broken."""

import base64
import json
import random
from dataclasses import replace
from importlib.resources import files

import pytest

from providers.base import Callback, InboundMedia
from providers.errors import UnreadableCallback
from providers.tests.test_adapters import sendgrid

ACCOUNT = sendgrid("http://127.0.0.1:9")
SAMPLES = files("sendgrid") / "helpers" / "inbound" / "sample_data"
PNG = b"\x89PNG\r\n\x1a\n\x00\xff\r\n\r\n--\r\n"

HEADERS = (
    b"Received: from mail.example.com (mxd [192.0.2.1]) by mx.sendgrid.net with ESMTP id x; Tue, 03 Jun 2025\n"
    b"Date: Tue, 3 Jun 2025 05:42:51 +0100\nFrom: Jane Doe <jane@example.com>\n"
    b"Message-Id: <1@mail.example.com>\nMime-Version: 1.0\nSubject: Offer\nTo: us@example.org\n"
    b"In-Reply-To: <0@example.org>\nReferences: <a@example.org>\n\t<0@example.org>\n"
    b'Content-Type: multipart/mixed; boundary="b1"\n'
)
# The fields of the parsed mode in the order in which they come.
PARSED = {
    "headers": HEADERS,
    "dkim": b"{@example.com : pass}",
    "content-ids": b'{"ii_1":"attachment1"}',
    "to": b"Us <us@example.org>",
    "html": b'<p>Hi</p><img src="cid:ii_1">',
    "from": b"Jane Doe <jane@example.com>",
    "text": b"Hi\n",
    "sender_ip": b"192.0.2.1",
    "envelope": b'{"to":["reply+1@in.example.org"],"from":"jane@example.com"}',
    "attachments": b"2",
    "subject": b"Offer",
    "spam_score": b"0.1",
    "attachment-info": json.dumps(
        {
            "attachment1": {"filename": "logo.png", "name": "logo.png", "type": "image/png", "content-id": "ii_1"},
            "attachment2": {"filename": "Angebot für Sie.pdf", "name": "x.pdf", "type": "application/pdf"},
        }
    ).encode(),
    "charsets": b'{"to":"UTF-8","html":"UTF-8","subject":"UTF-8","from":"UTF-8","text":"UTF-8"}',
    "SPF": b"pass",
}
FILES = {"attachment1": ("logo.png", b"image/png", PNG), "attachment2": ("x.pdf", b"application/pdf", b"%PDF-1")}
RAW = (
    b"MIME-Version: 1.0\r\nFrom: Jane Doe <jane@example.com>\r\nTo: us@example.org\r\nMessage-ID: <1@mail.example.com>"
    b"\r\nSubject: =?iso-8859-1?q?Gr=FC=DFe?=\r\nContent-Type: multipart/mixed; boundary=b1\r\n\r\n"
    b"--b1\r\nContent-Type: multipart/related; boundary=b2\r\n\r\n"
    b"--b2\r\nContent-Type: multipart/alternative; boundary=b3\r\n\r\n"
    b"--b3\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=FC=DFe\r\n"
    b"--b3\r\nContent-Type: text/html; charset=UTF-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b'<p>Gr\xc3\xbc\xc3\x9fe</p><img src="cid:ii_1">\r\n--b3--\r\n'
    b'--b2\r\nContent-Type: image/png; name="logo.png"\r\nContent-Disposition: inline; filename="logo.png"\r\n'
    b"Content-ID: <ii_1>\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.encodebytes(PNG) + b"\r\n--b2--\r\n"
    b"--b1\r\nContent-Type: text/plain\r\nContent-Disposition: attachment;\r\n"
    b" filename*=UTF-8''..%2Fetc%2F%C3%BCber.txt\r\n\r\nNotes\r\n--b1--\r\n"
)
FORM = {
    "dkim": b"none",
    "email": RAW,
    "to": b"us@example.org",
    "from": b"Jane Doe <jane@example.com>",
    "sender_ip": b"192.0.2.1",
    "envelope": PARSED["envelope"],
    "subject": "Grüße".encode(),
    "charsets": b'{"to":"UTF-8","subject":"UTF-8","from":"UTF-8"}',
    "SPF": b"pass",
}


def posted(fields, attached=None, boundary="xYzZY"):
    """The bytes that SendGrid posts."""
    line = b"--" + boundary.encode() + b"\r\n"
    body = b"".join(
        line + f'Content-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"
        for name, value in fields.items()
    )
    for name, (filename, kind, content) in (attached or {}).items():
        head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: '
        body += line + head.encode() + kind + b"\r\n\r\n" + content + b"\r\n"
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    body += b"--" + boundary.encode() + b"--\r\n"
    return Callback(url="https://example.com/hook", body=body, headers=headers)


def part_of(callback):
    [part] = ACCOUNT.split(callback)
    assert part.kind == "inbound"
    return part


def read(callback):
    part = part_of(callback)
    return ACCOUNT.read_inbound(json.loads(json.dumps(part.payload)), part.body)


def parsed(**fields):
    return read(posted({**PARSED, **fields}))


def raw(mail):
    return read(posted({**FORM, "email": mail}))


def with_headers(*lines):
    """The parsed mode with more header lines, put first so that they count."""
    return parsed(headers=b"".join(line + b"\n" for line in lines) + HEADERS)


def test_a_parsed_mail_is_read_with_its_thread_attachments_and_inline_images():
    found = read(posted(PARSED, FILES))
    assert (found.channel, found.sender, found.recipient) == ("email", "jane@example.com", "reply+1@in.example.org")
    assert (found.subject, found.body, found.html) == ("Offer", "Hi\n", '<p>Hi</p><img src="cid:ii_1">')
    assert (found.message_id_header, found.in_reply_to) == ("<1@mail.example.com>", "<0@example.org>")
    assert found.references == ("<a@example.org>", "<0@example.org>")
    assert (found.automatic, found.keyword, found.segments) == (False, None, None)
    assert found.media == (
        InboundMedia(content=PNG, content_type="image/png", filename="logo.png", content_id="ii_1"),
        InboundMedia(content=b"%PDF-1", content_type="application/pdf", filename="Angebot für Sie.pdf"),
    )


def test_a_raw_mail_is_read_with_its_attachments_and_inline_images():
    found = read(posted(FORM))
    assert (found.sender, found.recipient, found.subject) == ("jane@example.com", "reply+1@in.example.org", "Grüße")
    assert (found.body.strip(), found.message_id_header) == ("Grüße", "<1@mail.example.com>")
    assert found.html.strip() == '<p>Grüße</p><img src="cid:ii_1">'
    assert found.media == (
        InboundMedia(content=PNG, content_type="image/png", filename="logo.png", content_id="ii_1"),
        InboundMedia(content=b"Notes", content_type="text/plain", filename="über.txt"),
    )


@pytest.mark.parametrize(
    ("name", "subject", "recipient", "sizes"),
    [
        ("default_data.txt", "Testing non-raw", "inbound@inbound.example.com", {}),
        ("raw_data.txt", "Testing with Request.bin", "inbound@inbound.inbound.com", {}),
        ("raw_data_with_attachments.txt", "Raw Payload", "inbound@inbound.inbound.com", {"SendGrid.jpg": 10295}),
    ],
)
def test_the_samples_that_come_with_the_sdk_are_read(name, subject, recipient, sizes):
    found = read(replace(posted({}), body=(SAMPLES / name).read_bytes()))
    assert (found.sender, found.recipient, found.subject) == ("test@example.com", recipient, subject)
    assert found.body.strip() == "Hello Twilio SendGrid!"
    assert "<strong>Hello" in found.html
    assert {each.filename: len(each.content) for each in found.media} == sizes


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "UTF-16", "gb18030", "utf-8"])
def test_each_field_is_decoded_by_its_own_charset(charset):
    charsets = json.dumps({"text": charset, "subject": "iso-8859-15"}).encode()
    found = parsed(text="Grüße".encode(charset), subject="5 €".encode("iso-8859-15"), charsets=charsets)
    assert (found.body, found.subject) == ("Grüße", "5 €")


@pytest.mark.parametrize(
    ("charset", "text", "codec"),
    [
        ("iso-8859-8-i", "שלום", "iso8859-8"),
        ("ISO-8859-8-E", "שלום", "iso8859-8"),
        ("x-sjis", "①髙", "cp932"),
        ("Shift_JIS", "①髙", "cp932"),
        ("windows-31j", "①髙", "cp932"),
        ("windows-874", "ไทย", "cp874"),
        ("gb2312", "镕", "gbk"),
        ("ks_c_5601-1987", "똠방", "cp949"),
        ("unicode-1-1-utf-7", "é", "utf-7"),
    ],
)
def test_charsets_are_read_as_mail_programs_mean_them(charset, text, codec):
    assert parsed(text=text.encode(codec), charsets=json.dumps({"text": charset}).encode()).body == text
    mail = f"From: a@example.com\r\nContent-Type: text/plain; charset={charset}\r\n\r\n".encode()
    assert raw(mail + text.encode(codec)).body == text


@pytest.mark.parametrize(
    "charset", ["klingon", "x" * 5000, "hex", "idna", "undefined", "utf-7", "a\0b", 5, None, ["a"]]
)
def test_a_charset_that_is_none_is_taken_for_utf_8(charset):
    assert parsed(text="Grüße".encode(), charsets=json.dumps({"text": charset}).encode()).body == "Grüße"
    mail = f'From: a@example.com\r\nContent-Type: text/plain; charset="{charset}"\r\n\r\nGrüße'.encode()
    assert raw(mail.replace(b"\0", b"")).body == "Grüße"


def test_what_a_database_can_not_hold_is_replaced():
    assert parsed(text=b"a\0b\xff", subject=b"a\0b").body == "a\ufffdb\ufffd"
    half = json.dumps({"to": ["a\ud800@example.com"], "from": "\0"}).encode()
    assert parsed(envelope=half).recipient == "a\ufffd@example.com"
    assert parsed(text=b"\xed\xa0\x80").body.strip("\ufffd") == ""
    found = raw(b"From: a@example.com\r\nSubject: =?utf-8?b?AO2ggA==?=\r\nMessage-ID: <\0@x>\r\n\r\n\0")
    assert "\0" not in f"{found.body}{found.message_id_header}"


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (b"jane@example.com", "jane@example.com"),
        (b"Doe, Jane <jane@example.com>", "jane@example.com"),
        (b'"boss@example.com" <jane@example.com>', "jane@example.com"),
        (b'"<boss@example.com>" <jane@example.com>', "jane@example.com"),
        (b"=?utf-8?q?=3Cboss=40example.com=3E?= <jane@example.com>", "jane@example.com"),
        (b"jane@example.com (Jane Doe)", "jane@example.com"),
        ("Jané <jane@example.com>".encode(), "jane@example.com"),
        (b"MAILER-DAEMON", "MAILER-DAEMON"),
    ],
)
def test_the_sender_is_the_address_and_never_the_name(written, address):
    assert parsed(headers=b"From: " + written + b"\n").sender == address
    assert raw(b"From: " + written + b"\r\n\r\nHi").sender == address


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (b"a@example.com, d@example.com", "a@example.com"),
        (b"<a@example.com>, <d@example.com>", "a@example.com"),
        (b"Us: a@example.com, d@example.com;", "a@example.com"),
        (b'"a, b"@example.com', '"a, b"@example.com'),
        (b'Jane (5" <x@example.com>) <a@example.com>', "a@example.com"),
        (b"<>", "jane@example.com"),
        (b"undisclosed:;", "jane@example.com"),
        (b"Jane Doe", "jane@example.com"),
        (b"=?utf-8?q?=3Cboss=40example.com=3E?=", "jane@example.com"),
    ],
)
def test_the_first_address_counts_and_the_return_path_where_there_is_none(written, address):
    assert parsed(headers=b"From: " + written + b"\n").sender == address


def test_what_stands_in_from_is_the_sender_where_nothing_else_says_who_it_is():
    assert parsed(headers=b"From: Jane Doe\n", envelope=b'{"to":["a@example.org"],"from":""}').sender == "Jane Doe"


def test_an_encoded_line_end_does_not_come_out_of_a_header():
    mail = b"Subject: =?utf-8?Q?a=0D=0ABcc:x@example.com=E2=80=A8y?=\r\nMessage-ID: =?utf-8?q?<1=0D=0A2@x>?=\r\n"
    found = read(posted({**FORM, "subject": b"", "email": mail + RAW}))
    assert (found.subject, found.message_id_header) == ("a Bcc:x@example.com y", "")
    assert parsed(subject=b"a\r\nBcc: x").subject == "a Bcc: x"


def test_words_that_split_a_character_between_them_are_decoded():
    mail = b"Subject: a =?utf-8?b?R3LD?= =?UTF-8?q?=BC=C3=9Fe_?=\r\n =?gb2312?b?xOO6ww==?= b\r\n"
    assert read(posted({**FORM, "subject": b"", "email": mail + RAW})).subject == "a Grüße 你好 b"


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (b'"..\\..\\x.txt"', "x.txt"),
        (b'"C:\\Users\\x.txt"', "x.txt"),
        (b'".."', ""),
        (b'"."', ""),
        ('"a\u202egnp.exe\u2066"'.encode(), "agnp.exe"),
        (b"my file.txt", "my file.txt"),
        (b"=?utf-8?q?=2E=2E=2Fa=00=0Ab=2Etxt?=", "a\ufffd b.txt"),
        (b'"' + b"x" * 400 + b'.pdf"', "x" * 251 + ".pdf"),
        (b'"' + b"x" * 10 + b"." + b"y" * 400 + b'"', "x" * 10 + "." + "y" * 244),
    ],
)
def test_a_files_name_is_fit_for_a_folder_and_a_screen(written, name):
    mail = b"From: a@example.com\r\nContent-Type: a/b\r\nContent-Disposition: attachment; filename=" + written
    assert [each.filename for each in raw(mail + b"\r\n\r\nx").media] == [name]


@pytest.mark.parametrize("written", [b"filename*0=ab; filename*1*=%C3%BC; filename*2=.txt", b"filename*1*=%C3%BC.txt"])
def test_a_name_in_pieces_is_put_together(written):
    mail = b"From: a@example.com\r\nContent-Disposition: attachment; " + written + b"\r\n\r\nx"
    assert raw(mail).media[0].filename in {"abü.txt", "ü.txt"}


def test_a_part_that_forgot_its_headers_is_text():
    head = b"From: a@example.com\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    assert raw(head + b"--b\r\nHi there\r\n\r\nJane\r\n--b--\r\n").body == "Hi there\r\n\r\nJane"


@pytest.mark.parametrize("encoded", [b"SGk=", b"SG\r\nk", b"S-G k=\r\n", b"SGk=SGk="])
def test_broken_base64_is_read_as_far_as_it_goes(encoded):
    assert raw(b"From: a@example.com\r\nContent-Transfer-Encoding: BASE64\r\n\r\n" + encoded).body == "Hi"


@pytest.mark.parametrize("envelope", [b"", b"{", b"[]", b"{}", b'{"to":[]}', b'{"to":5}', b'{"to":[null," "]}'])
def test_without_an_envelope_the_recipient_is_in_to(envelope):
    assert parsed(envelope=envelope).recipient == "us@example.org"


def test_mail_without_sender_or_recipient_is_unreadable_but_kept():
    for fields in ({"from": b"", "headers": b"Subject: x"}, {"to": b"", "headers": b"From: a@example.com"}):
        callback = posted({**PARSED, **fields, "envelope": b"{}"})
        assert part_of(callback).payload["size"] == len(callback.body)
        with pytest.raises(UnreadableCallback, match=r"has no (sender|recipient)"):
            read(callback)


@pytest.mark.parametrize(
    "line",
    [
        b"Auto-Submitted: auto-replied",
        b"Auto-Submitted: Auto-Generated; owner-email=x",
        b"Precedence: bulk",
        b"Precedence: LIST",
        b"X-Autoreply: yes",
        b"X-Autorespond: 1",
    ],
)
def test_automatic_mail_is_marked(line):
    assert with_headers(line).automatic
    assert raw(line + b"\r\n" + RAW).automatic


@pytest.mark.parametrize(
    "line", [b"Auto-Submitted: no", b"Auto-Submitted:", b"Precedence: first-class", b"X-Autoreply: no"]
)
def test_mail_that_a_person_wrote_is_not_marked_as_automatic(line):
    assert not with_headers(line).automatic


def test_mail_with_an_empty_return_path_is_automatic():
    assert parsed(envelope=b'{"to":["us@example.org"],"from":""}').automatic


def test_a_mail_that_comes_again_is_known_by_its_id_sender_and_recipient():
    first = part_of(posted(PARSED))
    again = part_of(posted({**PARSED, "spam_score": b"9", "text": b"changed"}, boundary="other"))
    assert first.dedupe_key == again.dedupe_key == part_of(posted(FORM)).dedupe_key
    assert len(first.dedupe_key) <= 100
    elsewhere = {**PARSED, "envelope": b'{"to":["reply+2@in.example.org"],"from":"jane@example.com"}'}
    other = {**PARSED, "headers": HEADERS.replace(b"<1@", b"<2@")}
    shadow = {**PARSED, "headers": HEADERS.replace(b"jane@", b"mallory@")}
    assert len({first.dedupe_key, *(part_of(posted(each)).dedupe_key for each in (elsewhere, other, shadow))}) == 4
    assert read(posted(PARSED)).provider_message_id == read(posted(FORM)).provider_message_id != parsed(**other)


def test_a_mail_without_an_id_is_known_by_its_content_whatever_its_boundary():
    fields = {**PARSED, "headers": b"From: jane@example.com\n"}
    keys = [part_of(posted(fields, boundary=boundary)).dedupe_key for boundary in ("one", "another")]
    assert keys[0] == keys[1] != part_of(posted({**fields, "text": b"other"})).dedupe_key


FORGED = b'x\r\n--xYzZY\r\nContent-Disposition: form-data; name="envelope"\r\n\r\n{"to":["boss@example.org"]}\r\n'


def test_a_mail_can_not_forge_the_envelope_by_writing_the_forms_boundary():
    forged = FORGED + b"--xYzZY--\r\n"
    assert parsed(text=forged).recipient == "reply+1@in.example.org"
    forged_file = b'--xYzZY\r\nContent-Disposition: form-data; name="attachment1"; filename="a"\r\n\r\nx\r\n'
    assert raw(RAW + FORGED + forged_file).recipient == "reply+1@in.example.org"


@pytest.mark.parametrize("name", ["logo.png", '"; name*=envelope; x="', '"; name="envelope', ""])
def test_an_attached_file_can_not_forge_the_envelope_by_writing_the_forms_boundary(name):
    found = read(posted(PARSED, {"attachment1": (name, b"a/b", FORGED), "attachment2": ("b", b"a/b", FORGED)}))
    assert found.recipient == "reply+1@in.example.org"


def test_a_form_that_begins_with_its_files_is_read():
    fields = [posted(PARSED).body, posted({}, FILES).body.removesuffix(b"--xYzZY--\r\n")]
    found = read(replace(posted({}), body=b"".join(reversed(fields))))
    assert (found.recipient, len(found.media), found.body) == ("reply+1@in.example.org", 2, "Hi\n")


def test_all_that_the_mail_was_delivered_to_are_told_in_order():
    found = parsed(envelope=b'{"to":["b@example.org","a@example.org"],"from":"jane@example.com"}')
    assert (found.recipient, found.recipients) == ("b@example.org", ("b@example.org", "a@example.org"))
    assert parsed(envelope=b"").recipients == ("us@example.org",)
    many = json.dumps({"to": ["a@example.org"] * 1000}).encode()
    assert len(parsed(envelope=many).recipients) == 100


def test_an_attached_mail_is_an_attachment_and_not_a_part_of_the_form():
    mail = b'Subject: inner\r\nContent-Type: multipart/mixed; boundary="q"\r\n\r\n--q\r\n\r\nx\r\n--q--\r\n'
    [media] = read(posted(PARSED, {"attachment1": ("a.eml", b"message/rfc822", mail)})).media
    assert (media.content, media.content_type) == (mail, "message/rfc822")
    outer = b'From: a@example.com\r\nContent-Type: multipart/mixed; boundary="p"\r\n\r\n--p\r\n\r\nHi\r\n--p\r\n'
    found = raw(outer + b"Content-Type: message/rfc822\r\n\r\n" + mail + b"\r\n--p--\r\n")
    assert (found.body, [each.content_type for each in found.media]) == ("Hi", ["message/rfc822"])
    assert found.media[0].content.startswith(b"Subject: inner")


def test_bytes_of_an_attachment_arrive_untouched():
    every = bytes(range(256)) * 3
    [media] = read(posted(PARSED, {"attachment1": ("a.bin", b"", every)})).media
    assert (media.content, media.filename) == (every, "logo.png")


def test_the_largest_mail_is_kept_whole_beside_its_payload():
    callback = posted({**PARSED, "text": b"x" * (35 * 1024 * 1024)})
    part = part_of(callback)
    assert part.body is callback.body
    assert part.payload == {"content_type": callback.headers["content-type"], "size": len(callback.body)}
    assert len(ACCOUNT.read_inbound(part.payload, part.body).body) == 35 * 1024 * 1024


def test_a_mail_whose_body_is_gone_is_unreadable_and_says_so():
    with pytest.raises(UnreadableCallback, match=r"The mail was kept without its body\."):
        ACCOUNT.read_inbound(part_of(posted(PARSED)).payload)


@pytest.mark.parametrize("line", [b"Content-Type: text/plain; a*=idna''%ff", b"Content-Type: " + b"(" * 5000])
def test_a_header_that_the_standard_library_fails_on_does_not_lose_the_mail(line):
    found = raw(b"From: a@example.com\r\n" + line + b"\r\n\r\nHi")
    assert found.sender == "a@example.com"
    assert "Hi" in (found.body or found.media[0].content.decode())


@pytest.mark.parametrize("name", [b"Content-Type", b"Content-Disposition"])
def test_an_endless_header_does_not_hold_up_the_reading(name):
    # Uncut, the first of these takes longer than any test may.
    for junk in (b"a/b; ", b';a="', b'"\\'):
        assert raw(b"From: a@example.com\r\n" + name + b": " + junk * 150_000 + b"\r\n\r\nHi").sender == "a@example.com"


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"content_type": 5},
        {"content_type": "multipart/form-data"},
        {"content_type": "multipart/form-data; boundary=\ud800"},
        {"content_type": "multipart/form-data; boundary*=idna''%ff"},
        {"content_type": "multipart/form-data; boundary=x"},
        {"content_type": "a/b; x*=a; x*0*=b"},
        {"content_type": "multipart/form-data; boundary*=a; boundary*0*=b"},
    ],
)
@pytest.mark.parametrize("body", [b"", b"x"])
def test_a_payload_that_is_no_mail_is_unreadable(payload, body):
    with pytest.raises(UnreadableCallback):
        ACCOUNT.read_inbound(payload, body)


def test_no_mail_raises_anything_but_unreadable_and_none_is_refused():
    chance = random.Random(7)
    scraps = [
        b"",
        b"\0",
        b"\xff",
        b"=?utf-8?b?",
        b"?=",
        b"\r\n",
        b"--b1\r\n",
        b"--xYzZY\r\n",
        b"(",
        b'"',
        b"<",
        b"@",
        b";",
    ]
    scraps += [b"*0*=idna''%ff", b"charset=punycode", b"Content-Type: message/rfc822\r\n\r\n", b"{", b"uuencode", b":"]
    readable = 0
    for turn in range(600):
        callback = posted(PARSED, FILES) if turn % 2 else posted(FORM)
        body = bytearray(callback.body)
        for _ in range(1 + chance.randrange(8)):
            at = chance.randrange(len(body))
            body[at : at + chance.randrange(12)] = chance.choice(scraps) * (1 + chance.randrange(3))
        try:
            found = read(replace(callback, body=bytes(body)))
        except UnreadableCallback:
            continue
        readable += 1
        text = "".join([found.sender, found.recipient, found.subject, found.body, found.html, *found.references])
        assert "\0" not in text
        text.encode()
        assert found.sender
        assert found.recipient
    assert readable > 300
