"""Who signed a callback: the vectors of the SDKs' own tests, through the SDKs and through our adapters.

Twilio's are those of twilio-python, tests/unit/test_request_validator.py; SendGrid's those of sendgrid-python,
test/unit/test_eventwebhook.py. Neither publishes one for a shared key or for mail, so these are signed here.
"""

import base64
import json
from dataclasses import replace
from hashlib import sha256
from urllib.parse import quote, urlencode

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key
from multidict import MultiDict
from sendgrid.helpers.eventwebhook import EventWebhook
from twilio.request_validator import RequestValidator

from providers.base import Callback, Signature
from providers.tests.conftest import make_key_pair
from providers.tests.test_adapters import TWILIO_SID, sendgrid, twilio

NOWHERE = "http://127.0.0.1:9"

# --- Twilio ---

TOKEN = "12345"
URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
CALL = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
    ("Caller", "+14158675309"),
]
REPEATED = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234")]
FORM_VECTORS = {
    "as documented": (URL, CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    "https, a port that was not signed": (URL.replace(".com", ".com:1234"), CALL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
    "https, a port that was left out": (URL, CALL, "kvajT1Ptam85bY51eRf/AJRuM3w="),
    "http, a port": (
        URL.replace("https", "http").replace(".com", ".com:1234"),
        CALL,
        "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=",
    ),
    "http, a port that was left out": (URL.replace("https", "http"), CALL, "0ZXoZLH/DfblKGATFgpif+LLRf4="),
    "a repeated name": (URL, REPEATED, "IK+Dwps556ElfBT0I3Rgjkr1wJU="),
}
JSON_BODY = '{"property": "value", "boolean": true}'
JSON_URL = f"{URL}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"
JSON_SIGNATURE = "a9nBmqA0ju/hNViExpshrM61xv4="

SUBACCOUNT = "AC" + "5" * 32
HOOK = "https://example.com/api/v1/webhooks/twilio?m=1&a=2"
STATUS = [("MessageSid", "SM1"), ("MessageStatus", "sent"), ("AccountSid", TWILIO_SID)]


def form(url, fields, signature, **headers):
    body = urlencode(fields).encode()
    kind = "application/x-www-form-urlencoded; charset=UTF-8"
    return Callback(url=url, body=body, headers={"content-type": kind, "x-twilio-signature": signature, **headers})


def signed(fields=STATUS, token="token", url=HOOK):
    return form(url, fields, RequestValidator(token).compute_signature(url, MultiDict(fields)))


def naming(*sids):
    return [*STATUS[:2], *(("AccountSid", sid) for sid in sids)]


def with_header(callback, name, value):
    return replace(callback, headers={**callback.headers, name: value})


def json_callback(url=JSON_URL, body=JSON_BODY, signature=JSON_SIGNATURE):
    headers = {"content-type": "application/json; charset=UTF-8", "x-twilio-signature": signature}
    return Callback(url=url, body=body.encode(), headers=headers)


@pytest.fixture
def theirs():
    return twilio(NOWHERE, token=TOKEN)


@pytest.fixture
def rotating():
    """An account whose token is being rotated, with a subaccount and a shared key."""
    more = {"secondary_auth_token": "old", "subaccount_tokens": {SUBACCOUNT: "sub"}, "shared_keys": {"key_1": "one"}}
    return twilio(NOWHERE, token="new", **more)


@pytest.mark.parametrize(("url", "fields", "signature"), FORM_VECTORS.values(), ids=FORM_VECTORS.keys())
def test_twilios_vectors_verify(theirs, url, fields, signature):
    assert RequestValidator(TOKEN).validate(url, MultiDict(fields), signature)
    callback = form(url, fields, signature)
    assert theirs.check_signature(callback) is Signature.VALID
    changed = replace(callback, body=callback.body.replace(b"1234", b"1235"))
    assert changed.body != callback.body
    assert theirs.check_signature(changed) is Signature.INVALID
    assert theirs.check_signature(replace(callback, url=url + "0")) is Signature.INVALID
    assert twilio(NOWHERE, token="12346").check_signature(callback) is Signature.INVALID
    assert twilio(NOWHERE, token="").check_signature(callback) is Signature.INVALID


def test_twilios_vector_for_json_verifies(theirs):
    assert RequestValidator(TOKEN).validate(JSON_URL, JSON_BODY, JSON_SIGNATURE)
    assert theirs.check_signature(json_callback()) is Signature.VALID
    wrong = [
        json_callback(body=JSON_BODY.replace("true", "false")),
        json_callback(url=JSON_URL.replace("0a1ff", "0a1fe")),
        json_callback(url=URL),
        json_callback(url=URL, signature=RequestValidator(TOKEN).compute_signature(URL, {})),
        with_header(json_callback(), "content-type", "application/x-www-form-urlencoded"),
        replace(json_callback(), body=b"\xff"),
    ]
    assert {theirs.check_signature(each) for each in wrong} == {Signature.INVALID}


BROKEN = ["", "=", "%", "RSOYDt4T1cUTdK1PDd93/VVr8B8", "ü", "\x00", "A" * 5000, "RSOYDt4T1cUTdK1PDd93/VVr8B8=" * 2]
BROKEN += ["RSOYDt4T1cUTdK1PDd93/VVr8B8=, RSOYDt4T1cUTdK1PDd93/VVr8B8=", "rsoydt4t1cutdk1pdd93/vvr8b8=", "\ud800"]


@pytest.mark.parametrize("signature", BROKEN)
def test_a_malformed_signature_of_twilio_is_invalid(theirs, signature):
    assert theirs.check_signature(form(URL, CALL, signature)) is Signature.INVALID


def test_no_signature_of_twilio_is_missing(theirs):
    assert theirs.check_signature(Callback(url=URL, body=urlencode(CALL).encode(), headers={})) is Signature.MISSING


def test_the_fragment_that_asks_for_more_tries_is_not_signed():
    callback = signed(url=HOOK)
    assert twilio(NOWHERE).check_signature(callback) is Signature.VALID
    assert twilio(NOWHERE).check_signature(replace(callback, url=f"{HOOK}#rc=5&rp=all")) is Signature.INVALID


@pytest.mark.parametrize("named", [(), (TWILIO_SID,), (TWILIO_SID, TWILIO_SID)])
def test_both_tokens_are_believed_while_they_are_rotated_and_no_third(rotating, named):
    found = {token: rotating.check_signature(signed(naming(*named), token)) for token in ("new", "old", "sub", "x", "")}
    assert {token for token, said in found.items() if said is Signature.VALID} == {"new", "old"}
    assert found["x"] is found[""] is found["sub"] is Signature.INVALID


def test_a_subaccounts_callback_is_checked_with_its_own_token_only(rotating):
    found = {token: rotating.check_signature(signed(naming(SUBACCOUNT), token)) for token in ("sub", "new", "old", "")}
    assert [token for token, said in found.items() if said is Signature.VALID] == ["sub"]


@pytest.mark.parametrize(
    "named",
    [
        ("AC" + "6" * 32,),
        ("",),
        (SUBACCOUNT, TWILIO_SID),
        (TWILIO_SID, SUBACCOUNT),
        (SUBACCOUNT, ""),
        (SUBACCOUNT.lower(),),
    ],
)
@pytest.mark.parametrize("token", ["new", "old", "sub", ""])
def test_an_account_that_is_none_of_ours_or_two_at_once_is_invalid_whoever_signs(rotating, named, token):
    assert rotating.check_signature(signed(naming(*named), token)) is Signature.INVALID


def test_a_json_body_names_its_account_too(rotating):
    def found(sid, token):
        body = json.dumps({"AccountSid": sid})
        url = f"{HOOK}&bodySHA256={sha256(body.encode()).hexdigest()}"
        callback = json_callback(url, body, RequestValidator(token).compute_signature(url, {}))
        return rotating.check_signature(callback)

    assert found(SUBACCOUNT, "sub") is found(TWILIO_SID, "old") is Signature.VALID
    assert found(SUBACCOUNT, "new") is found(TWILIO_SID, "sub") is found("AC6", "new") is Signature.INVALID
    assert found([SUBACCOUNT], "sub") is found({}, "new") is Signature.INVALID


def test_a_subaccount_without_a_token_is_not_believed():
    account = twilio(NOWHERE, subaccount_tokens={SUBACCOUNT: ""})
    assert account.check_signature(signed(naming(SUBACCOUNT), "")) is Signature.INVALID
    assert account.check_signature(signed(naming(SUBACCOUNT), "token")) is Signature.INVALID


def test_an_account_without_credentials_believes_nobody():
    account = twilio(NOWHERE, sid="", token="", subaccount_tokens={SUBACCOUNT: "sub"}, shared_keys={"key_1": "one"})
    told = [signed(naming(SUBACCOUNT), "sub"), signed(naming(), ""), by_key("one", "key=key_1,algorithm=HMAC_SHA256")]
    assert {account.check_signature(each) for each in told} == {Signature.INVALID}


def by_key(secret, settings, algorithm="HMAC_SHA256", fields=STATUS):
    signature = RequestValidator(secret).compute_signature(HOOK, MultiDict(fields), algorithm)
    return form(HOOK, fields, signature, **{"x-twilio-webhooks-signature-settings": settings})


def test_a_shared_key_signs_with_sha256_under_its_own_id():
    account = twilio(NOWHERE, shared_keys={"key_1": "one", "key_2": "two"}, subaccount_tokens={SUBACCOUNT: "sub"})
    told = "key=key_2,algorithm=HMAC_SHA256"
    good = by_key("two", told)
    assert RequestValidator("two").validate(HOOK, dict(STATUS), good.headers["x-twilio-signature"], "HMAC_SHA256")
    assert account.check_signature(good) is account.check_signature(signed()) is Signature.VALID
    wrong = [
        by_key("one", told),
        by_key("token", told),
        by_key("two", told, "HMAC_SHA1"),
        by_key("two", "key=key_3,algorithm=HMAC_SHA256"),
        by_key("", "key=key_3,algorithm=HMAC_SHA256"),
        by_key("", "key=,algorithm=HMAC_SHA256"),
        by_key("two", "key=key_2,algorithm=HMAC_MD5", "HMAC_SHA1"),
        by_key("two", ",,=,key"),
        by_key("two", told, fields=naming("AC6")),
        replace(good, body=good.body.replace(b"sent", b"read")),
        replace(good, url=HOOK + "3"),
        with_header(good, "x-twilio-webhooks-signature-settings", ""),
        with_header(good, "x-twilio-signature", "ü"),
    ]
    assert {account.check_signature(each) for each in wrong} == {Signature.INVALID}


def test_an_auth_token_may_sign_with_sha256_too():
    assert twilio(NOWHERE).check_signature(by_key("token", "algorithm=HMAC_SHA256")) is Signature.VALID
    assert twilio(NOWHERE).check_signature(by_key("x", "algorithm=HMAC_SHA256")) is Signature.INVALID


# --- SendGrid ---

PUBLIC_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eN"
    "Ec6wEA3F+g=="
)
OTHER_KEY = (
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R"
    "1NGe1OPzpA=="
)
EVENT_SIGNATURE = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
OTHER_SIGNATURE = "MEUCIQCtIHJeH93Y+qpYeWrySphQgpNGNr/U+UyUlBkU6n7RAwIgJTz2C+8a8xonZGi6BpSzoQsbVRamr2nlxFDWYNH3j/0="
TIMESTAMP = "1600112502"
EVENTS = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)
SIGNATURE_HEADER = "x-twilio-email-event-webhook-signature"
TIMESTAMP_HEADER = "x-twilio-email-event-webhook-timestamp"
PRIVATE, PUBLIC = make_key_pair()
FORM_DATA = "multipart/form-data; boundary=xYzZY"
MAIL = b'--xYzZY\r\nContent-Disposition: form-data; name="text"\r\n\r\nGr\xfc\xdfe\r\n--xYzZY--\r\n'
SECRET = "a long secret & more+ü"
SECRET_URL = f"https://example.com/api/v1/webhooks/sendgrid?secret={quote(SECRET)}"


def events(signature=EVENT_SIGNATURE, timestamp=TIMESTAMP, body=EVENTS, url="https://example.com/hook"):
    headers = {SIGNATURE_HEADER: signature, TIMESTAMP_HEADER: timestamp, "content-type": "application/json"}
    return Callback(url=url, body=body, headers={name: value for name, value in headers.items() if value is not None})


def sign(body, timestamp=TIMESTAMP):
    key = load_der_private_key(base64.b64decode(PRIVATE), None)
    return base64.b64encode(key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))).decode()


def mail(signature=None, url="https://example.com/hook", body=MAIL, timestamp=TIMESTAMP):
    told = events(signature, timestamp if signature is not None else None, body, url)
    return with_header(told, "content-type", FORM_DATA)


def checked(callback, **settings):
    return sendgrid(NOWHERE, **settings).check_signature(callback)


def test_sendgrids_vector_verifies():
    assert EventWebhook(PUBLIC_KEY).verify_signature(EVENTS.decode(), EVENT_SIGNATURE, TIMESTAMP)
    assert checked(events(), public_key=PUBLIC_KEY) is Signature.VALID


@pytest.mark.parametrize(
    "changed",
    [
        {"body": EVENTS[:-2]},
        {"body": EVENTS.replace(b"\r\n", b"\n")},
        {"body": EVENTS.replace(b"dropped", b"droppes")},
        {"body": b"payload"},
        {"body": b""},
        {"signature": OTHER_SIGNATURE},
        {"timestamp": "1600112503"},
        {"timestamp": "timestamp"},
        {"timestamp": ""},
        {"timestamp": None},
        {"timestamp": "ü\ud800"},
    ],
)
def test_an_event_that_was_changed_is_invalid(changed):
    assert checked(events(**changed), public_key=PUBLIC_KEY) is Signature.INVALID


def test_another_key_or_none_verifies_nothing():
    assert not EventWebhook(OTHER_KEY).verify_signature(EVENTS.decode(), EVENT_SIGNATURE, TIMESTAMP)
    assert checked(events(), public_key=OTHER_KEY) is checked(events(), public_key="") is Signature.INVALID


@pytest.mark.parametrize(
    "signature",
    [
        *["", "=", "%%%", "AAAA", "ü", "\ud800", EVENT_SIGNATURE[:-1], EVENT_SIGNATURE * 2],
        *[f"{EVENT_SIGNATURE}, {EVENT_SIGNATURE}", f" {EVENT_SIGNATURE}", f"!{EVENT_SIGNATURE}"],
    ],
)
def test_a_malformed_signature_of_sendgrid_is_invalid(signature):
    assert checked(events(signature), public_key=PUBLIC_KEY) is Signature.INVALID


def test_no_signature_of_sendgrid_is_missing():
    assert checked(events(None), public_key=PUBLIC_KEY) is Signature.MISSING
    assert checked(events(None, None), public_key=PUBLIC_KEY) is Signature.MISSING


def test_mail_is_signed_over_its_bytes_by_the_key_of_inbound_parse_or_else_by_the_one_of_events():
    assert EventWebhook(PUBLIC).verify_signature("ASCII", sign(b"ASCII"), TIMESTAMP)
    told = mail(sign(MAIL))
    assert checked(told, public_key=PUBLIC_KEY, inbound_public_key=PUBLIC) is Signature.VALID
    assert checked(told, public_key=PUBLIC) is Signature.VALID
    assert checked(told, public_key=PUBLIC, inbound_public_key=PUBLIC_KEY) is Signature.INVALID
    assert checked(told, public_key=PUBLIC, inbound_public_key="not a key") is Signature.INVALID
    changed = replace(told, body=MAIL.replace(b"\xfc", b"\xfd"))
    assert checked(changed, inbound_public_key=PUBLIC) is Signature.INVALID


def test_the_key_of_inbound_parse_signs_no_events():
    told = events(sign(EVENTS))
    assert checked(told, public_key=PUBLIC) is Signature.VALID
    assert checked(told, public_key=PUBLIC_KEY, inbound_public_key=PUBLIC) is Signature.INVALID


def test_unsigned_mail_is_believed_by_the_secret_in_its_url():
    assert checked(mail(url=SECRET_URL), inbound_secret=SECRET) is Signature.VALID
    assert checked(mail(url=f"{SECRET_URL}&x=1"), inbound_secret=SECRET, public_key=PUBLIC) is Signature.VALID
    assert checked(mail(url=SECRET_URL + "x"), inbound_secret=SECRET) is Signature.INVALID
    assert checked(mail(url="https://example.com/hook?secret="), inbound_secret=SECRET) is Signature.INVALID
    assert checked(mail(url=f"{SECRET_URL}&secret=x"), inbound_secret=SECRET) is Signature.INVALID
    assert checked(mail(url="https://example.com/hook?secret=%ED%A0%80"), inbound_secret=SECRET) is Signature.INVALID
    assert checked(mail(), inbound_secret=SECRET) is Signature.MISSING


def test_without_a_secret_none_is_right():
    assert checked(mail(url="https://example.com/hook?secret="), inbound_secret="") is Signature.INVALID
    assert checked(mail(url=SECRET_URL)) is Signature.INVALID


def test_the_secret_counts_for_mail_without_a_signature_and_for_nothing_else():
    assert checked(events(None, url=SECRET_URL), inbound_secret=SECRET) is Signature.MISSING
    settings = {"inbound_secret": SECRET, "inbound_public_key": PUBLIC}
    assert checked(mail(sign(MAIL), SECRET_URL), **settings) is Signature.VALID
    assert checked(mail(sign(b"other"), SECRET_URL), **settings) is Signature.INVALID
    assert checked(mail("", SECRET_URL), **settings) is Signature.INVALID
    assert checked(mail(sign(MAIL), SECRET_URL, timestamp=None), **settings) is Signature.INVALID
