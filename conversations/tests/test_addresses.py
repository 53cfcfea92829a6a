from functools import partial

import pytest

from conversations.addresses import (
    InvalidAddress,
    normalise_email,
    normalise_phone,
    normalise_phone_sender,
    participants_key,
)


@pytest.mark.parametrize("text", ["+15551234567", "+1 (555) 123-4567", "+1.555.123.4567", " +15551234567 "])
def test_however_a_number_is_typed_it_is_one_number(text):
    assert normalise_phone(text) == "+15551234567"


def test_a_national_number_is_read_only_with_a_region():
    assert normalise_phone("020 7183 8750", "GB") == "+442071838750"
    with pytest.raises(InvalidAddress):
        normalise_phone("020 7183 8750")


@pytest.mark.parametrize(
    "text", ["", "hello", "+1", "+155512345678901234", "call +15551234567", "+1555123456\n7", "12345"]
)
def test_what_is_no_number_is_refused(text):
    with pytest.raises(InvalidAddress, match=r"\+15551234567"):
        normalise_phone(text)


@pytest.mark.parametrize("text", ["12345", "Acme Shop", "24-7 Help"])
def test_a_short_code_or_a_name_may_send(text):
    assert normalise_phone_sender(text) == text


@pytest.mark.parametrize("text", ["Twelve chars", "Acmé", "--", "AC\x00ME"])
def test_a_sender_follows_the_rules_for_names(text):
    with pytest.raises(InvalidAddress):
        normalise_phone_sender(text)


def test_the_domain_of_an_email_address_has_no_case():
    assert normalise_email("Ann.Lee@EXAMPLE.com") == "Ann.Lee@example.com"


@pytest.mark.parametrize(
    "text", ["ann", "ann@", "@example.com", "ann@example", "a b@example.com", "ann@example.com\nx"]
)
def test_what_is_no_email_address_is_refused(text):
    with pytest.raises(InvalidAddress):
        normalise_email(text)


def test_the_key_of_a_pair_is_the_same_from_both_sides():
    key = partial(participants_key, test=False)
    assert key("email", "Ann@example.com", "bob@example.com") == key("email", "bob@example.com", "ann@example.com")
    assert key("sms", "+1", "+2") != key("email", "+1", "+2")


def test_a_test_shares_no_key_with_what_is_real():
    assert participants_key("sms", "+1", "+2", test=True) != participants_key("sms", "+1", "+2", test=False)
