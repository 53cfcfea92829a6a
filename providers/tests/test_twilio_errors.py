"""Twilio's table of errors, row by row through the adapter."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from providers.errors import Misconfigured, NotSent, Rejected, Uncertain
from providers.tests.odd_server import answering, http
from providers.tests.test_adapters import TWILIO, send, twilio
from providers.tests.test_twilio import report
from providers.twilio_errors import ROWS

each_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.code))


def outcome_of(status, code=None, **headers):
    body = "" if code is None else json.dumps({"code": code, "message": "To +15559876543", "status": status})
    with answering(http(status, body, **headers)) as server:
        return send(twilio(server.url), TWILIO.message)


def codes(outcome):
    return {row.code for row in ROWS if row.outcome is outcome}


@each_row
def test_a_message_refused_with_this_code_has_the_rows_outcome_and_sentence(row):
    found = outcome_of(400, row.code)
    assert (type(found), found.code, found.message) == (row.outcome, str(row.code), row.sentence)
    assert getattr(found, "opted_out", False) is row.opted_out


@each_row
def test_no_code_makes_a_500_a_refusal(row):
    assert type(outcome_of(500, row.code)) is Uncertain


@each_row
def test_a_message_undelivered_with_this_code_says_why(row):
    found = report(MessageStatus="undelivered", ErrorCode=str(row.code))
    assert (found.status, found.error_code, found.error_message) == ("undelivered", str(row.code), row.sentence)
    assert found.opt_out == ("provider" if row.opted_out else None)


@each_row
def test_every_row_is_a_sentence_that_names_nobody_and_has_a_page(row):
    assert row.sentence[0].isupper()
    assert row.sentence.endswith(".")
    assert not set("{}<>%+@") & set(row.sentence)
    assert row.page == f"https://www.twilio.com/docs/api/errors/{row.code}"


def test_no_code_has_two_rows():
    assert len({row.code for row in ROWS}) == len(ROWS)


def test_only_what_fails_every_message_pauses_the_account():
    account = {10001, 20003, 20005, 20006, 20008, 20010, 20403, 20404, 30002, 30037, 30454, 70051, 70052, 90010}
    installation = {20004, 20011, 20012, 20410, 20426, 21609}
    assert codes(Misconfigured) == account | installation


def test_only_what_was_never_taken_goes_again_and_what_nobody_knows_is_settled():
    assert codes(NotSent) == {20429, 21611, 30001, 63038}
    assert codes(Uncertain) == {20500, 20503, 20504, 30020, 30021, 30410, 30500}


def test_only_those_who_said_stop_have_opted_out():
    assert {row.code for row in ROWS if row.opted_out} == {21610, 30630}


@pytest.mark.parametrize(
    ("status", "code", "outcome", "said"),
    [
        (429, 21606, Rejected, "21606"),
        (401, None, Misconfigured, "401"),
        (401, 12345, Misconfigured, "12345"),
        (429, None, NotSent, "429"),
        (429, 12345, NotSent, "12345"),
        (400, 12345, Rejected, "12345"),
        (403, 12345, Rejected, "12345"),
        (400, None, Uncertain, "400"),
        (403, None, Uncertain, "403"),
        (404, None, Uncertain, "404"),
        (500, 12345, Uncertain, "12345"),
        (503, None, Uncertain, "503"),
    ],
)
def test_the_code_counts_and_where_no_row_has_it_the_status(status, code, outcome, said):
    found = outcome_of(status, code)
    assert (type(found), found.code) == (outcome, said)


def test_an_unlisted_code_is_named():
    assert outcome_of(400, 12345).message == "Twilio refused the request (code 12345)."
    assert outcome_of(500, 20500).message == "Twilio failed while it took the message."
    assert outcome_of(500, 21211).message == "Twilio's answer had status 500."


@pytest.mark.parametrize("code", [20429, 21611])
def test_a_wish_in_seconds_or_as_a_date_is_heard(code):
    assert outcome_of(429, code, Retry_After="7").retry_after == 7
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < outcome_of(429, code, Retry_After=then).retry_after <= 60


@pytest.mark.parametrize(
    ("wish", "heard"),
    [
        ("", None),
        ("-5", None),
        ("NaN", None),
        ("inf", None),
        ("soon", None),
        ("Wed, 99 Foo 2026", None),
        ("0", 0),
        ("31536000", 31536000),
        ("9" * 4000, 999999999),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00", 0),
    ],
)
def test_an_absurd_wish_is_no_wish_or_a_finite_one(wish, heard):
    assert outcome_of(429, 20429, Retry_After=wish).retry_after == heard
