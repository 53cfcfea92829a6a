"""Segments as they are billed."""

import pytest

from conversations.segments import GSM_BASIC, GSM_EXTENDED, segmentation

FAMILY = "👨‍👩‍👧‍👦"  # four people and three joiners: eleven code units


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", 1),
        ("a", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 459, 3),
        ("a" * 460, 4),
        ("a" * 1600, 11),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("a" * 159 + "€", 2),
        ("a" * 158 + "€", 1),
        ("€" * 152, 2),
        ("€" * 153, 3),
        # The escape and its character are not parted: of 153 septets one stays empty.
        ("a" * 152 + "€" + "a" * 151, 2),
        ("a" * 152 + "€" + "a" * 152, 3),
        ("\n" * 160, 1),
        ("\r\n" * 80, 1),
        ("[]{}\\^~|" * 10, 1),
        ("[]{}\\^~|" * 10 + "[", 2),
        ("@£$¥èéùìòÇØøÅåΔΦΓΛΩΠΨΣΘΞÆæßÉ¤¡ÄÖÑÜ§¿äöñüà", 1),
    ],
)
def test_what_gsm_can_write_is_counted_in_septets(text, segments):
    found = segmentation(text)
    assert (found.encoding, found.segments, found.ucs2_characters) == ("GSM-7", segments, ())


@pytest.mark.parametrize(
    ("text", "segments", "strange"),
    [
        ("ç", 1, "ç"),  # GSM has the capital only
        ("á", 1, "á"),
        ("`", 1, "`"),
        ("\t", 1, "\t"),
        ("“quoted”", 1, "“”"),
        ("don’t", 1, "’"),
        ("–", 1, "–"),
        ("\u00a0", 1, "\u00a0"),
        ("Привет", 1, "Привет"),
        ("漢" * 70, 1, "漢"),
        ("漢" * 71, 2, "漢"),
        ("漢" * 134, 2, "漢"),
        ("漢" * 135, 3, "漢"),
        ("a" * 69 + "漢", 1, "漢"),
        ("a" * 70 + "漢", 2, "漢"),
        ("€" * 69 + "漢", 1, "漢"),
        ("😀" * 35, 1, "😀"),
        ("😀" * 36, 2, "😀"),
        ("a" + "😀" * 35, 2, "😀"),
        # Both halves of a surrogate pair stay together: 33 of them fit into 67 units.
        ("😀" * 66, 2, "😀"),
        ("😀" * 67, 3, "😀"),
        ("a" * 66 + "😀" + "a" * 65, 2, "😀"),
        ("a" * 66 + "😀" + "a" * 66, 3, "😀"),
        (FAMILY, 1, "👨\u200d👩👧👦"),
        (FAMILY * 6, 1, "👨\u200d👩👧👦"),
        (FAMILY * 7, 2, "👨\u200d👩👧👦"),
        ("🇩🇪", 1, "🇩🇪"),
        ("a漢b漢c", 1, "漢"),
    ],
)
def test_anything_else_is_counted_in_code_units_and_named(text, segments, strange):
    found = segmentation(text)
    assert (found.encoding, found.segments, found.ucs2_characters) == ("UCS-2", segments, tuple(strange))


def test_the_alphabet_is_complete():
    assert (len(GSM_BASIC), len(GSM_EXTENDED), GSM_BASIC & GSM_EXTENDED) == (127, 10, frozenset())
