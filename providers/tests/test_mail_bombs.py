"""Mail that strangers wrote to use up our time, our memory or our storage: it is read all the same, and cheaply."""

import time
import tracemalloc

import pytest

from providers import inbound_mail
from providers.mime import DEEPEST_PART, MOST_MEDIA, MOST_PARTS
from providers.tests.test_inbound_mail import FORM, PARSED, RAW, part_of, posted, raw, read

SIZE = 400_000
# A harmless mail is copied and little else, so that there is room for what hostile headers cost: some thirty times it.
TIMES = 150
FROM = b"From: a@example.com\r\nMessage-ID: <1@example.com>\r\n"
MIXED = FROM + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
HARMLESS = FROM + b"\r\n" + b"A line as people write it, some seventy characters of it or less.\r\n" * (SIZE // 67)


def in_parts(head):
    part = b"--b\r\n" + head + b"\r\n\r\nx\r\n"
    return MIXED + part * (SIZE // len(part)) + b"--b--\r\n"


def nested(depth, innermost):
    names = [b"b" * (number + 1) for number in range(depth)]
    return (
        FROM + b"".join(b"Content-Type: multipart/a; boundary=%s\r\n\r\n--%s\r\n" % (n, n) for n in names) + innermost
    )


def seconds(callback):
    """What the processor spends on taking the callback in and reading it."""
    began = time.process_time()
    read(callback)
    return time.process_time() - began


def assert_cheap(callback):
    harmless = min(seconds(posted({**FORM, "email": HARMLESS})) for _ in range(3))
    assert seconds(callback) < TIMES * harmless


HOSTILE_PARTS = {
    "comments": b"Content-Type: " + b"(a)" * 660,
    "open comments": b"Content-Type: a/b; x=" + b"(" * 1980,
    "semicolons": b"Content-Type: a/b;" + b";" * 16_000,
    "parameters": b"Content-Type: multipart/a;" + b"x=y;" * 4000,
    "quotes": b'Content-Type: a/b; x="' + b'\\"' * 8000,
    "pieces": b"Content-Type: a/b" + b"".join(b";name*%d=a" % (number % 100) for number in range(1500)),
    "words": b'Content-Disposition: attachment; filename="' + b"=?utf-8?q?a?= " * 1000 + b'"',
    "open words": b'Content-Disposition: attachment; filename="' + b"=?u?q?" * 2600 + b'"',
    "blanks": b"Content-Disposition: attachment; filename" + b" " * 16_000,
    "folds": b"Content-Disposition: attachment" + b"\r\n ;" * 4000,
    "headers": b"a:b\r\n" * 3000,
}
HOSTILE_MAILS = {
    "short lines": FROM + b"\r\n" + b"a\n" * (SIZE // 2),
    "headers without end": FROM + b"a:b\n" * (SIZE // 4) + b"\r\nx",
    "one long header": FROM + b"Subject: " + b"=?" * (SIZE // 2) + b"\r\n\r\nx",
    "tiny parts": MIXED + b"--b\r\n\r\n\r\n" * (SIZE // 9),
    "tiny files": MIXED + b"--b\nContent-Type:a/b\n\nx\n" * (SIZE // 24),
    "parts in the deepest part": nested(9, b"--bbbbbbbbb\n\n\n" * (SIZE // 14)),
    "lines that are nearly boundaries": nested(12, (b"\n--" + b"b" * 12 + b"x") * (SIZE // 16)),
    "addresses of comments": b"From: " + b"(\\" * 8000 + b"\r\n\r\n" + b"x" * SIZE,
    "addresses of quotes": b"From: " + b'"\\' * 8000 + b"\r\n\r\n" + b"x" * SIZE,
    "addresses": b"From: " + b",<" * 8000 + b"\r\n\r\n" + b"x" * SIZE,
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE_PARTS)
def test_what_parts_say_of_themselves_does_not_hold_up_the_reading(name):
    assert_cheap(posted({**FORM, "email": in_parts(HOSTILE_PARTS[name])}))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", HOSTILE_MAILS)
def test_the_shape_of_a_mail_does_not_hold_up_the_reading(name):
    assert_cheap(posted({**FORM, "email": HOSTILE_MAILS[name]}))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("filename", [";" * 3900, ";" * 7900, "(a)" * 1000, "x"])
def test_heads_of_a_form_do_not_hold_up_the_reading(filename):
    files = {f"attachment{number}": (filename, b"a/b", b"x") for number in range(SIZE // (len(filename) + 100))}
    assert_cheap(posted(PARSED, files))


@pytest.mark.timeout(20)
def test_boundaries_of_a_form_without_end_leave_sendgrids_own_fields_in_place():
    lines = b"\r\n--xYzZY" * (SIZE // 9)
    assert_cheap(posted({**PARSED, "text": lines}))
    assert read(posted({**PARSED, "text": lines})).recipient == "reply+1@in.example.org"
    assert read(posted(PARSED, {"attachment1": ("a", b"a/b", lines)})).recipient == "reply+1@in.example.org"


LARGE = 3_000_000
LARGE_POSTS = {
    "short lines": {**FORM, "email": MIXED + b"--b\n\n" + b"a\n" * (LARGE // 2)},
    "zeros": {**FORM, "email": FROM + b"\n" + b"\0" * LARGE},
    "parts": {**FORM, "email": MIXED + b"--b\n" * (LARGE // 4)},
    "headers": {**FORM, "email": FROM + b"a:b\n" * (LARGE // 4)},
    "fields": {**PARSED, "text": b"\r\n--xYzZY" * (LARGE // 9)},
    "json": {**PARSED, "charsets": b"[" + b"[]," * (LARGE // 3) + b"[]]"},
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", LARGE_POSTS)
def test_a_mail_takes_memory_in_proportion_to_its_size(name):
    callback = posted(LARGE_POSTS[name])
    tracemalloc.start()
    try:
        read(callback)
        assert tracemalloc.get_traced_memory()[1] < 8 * len(callback.body)
    finally:
        tracemalloc.stop()


def test_what_stands_behind_the_longest_header_is_left_unread():
    head = FROM + b"Content-Disposition: attachment; " + b"x=y;" * 2000
    assert [each.filename for each in raw(head + b"filename=a\r\n\r\nx").media] == [""]
    found = read(posted({**PARSED, "attachment-info": b""}, {"attachment1": ("x" * 5000, b"a/b", b"x")}))
    assert found.media == ()


def test_parts_are_counted_over_the_whole_mail_and_the_rest_is_left_unread():
    inner = b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n" + b"--c\r\n\r\nx\r\n" * 300 + b"--c--\r\n"
    assert raw(MIXED + inner * 3 + b"--b--\r\n").body.split() == ["x"] * MOST_PARTS
    assert raw(MIXED + inner + b"--b--\r\n").body.split() == ["x"] * 300


def test_files_beyond_the_most_are_counted_and_left_out():
    parts = b"".join(b"--b\r\nContent-Type: a/b; name=%d\r\n\r\nx\r\n" % number for number in range(MOST_MEDIA + 7))
    files = {f"attachment{number}": (str(number), b"a/b", b"x") for number in range(MOST_MEDIA + 7)}
    for found in (raw(MIXED + parts + b"--b--\r\n"), read(posted({**PARSED, "attachment-info": b""}, files))):
        assert [each.filename for each in found.media] == [str(number) for number in range(MOST_MEDIA)]
        assert found.media_left_out == 7
    assert read(posted(FORM)).media_left_out == 0


@pytest.mark.parametrize("depth", [1, DEEPEST_PART - 1, DEEPEST_PART, DEEPEST_PART + 1, 3000])
def test_a_mail_of_any_depth_is_taken(depth):
    found = raw(nested(depth, b"\r\nHi"))
    assert found.body.endswith("Hi")
    assert (found.body == "Hi") is (depth <= DEEPEST_PART)


def test_a_mail_gets_its_key_without_being_read(monkeypatch):
    key = part_of(posted(FORM)).dedupe_key
    monkeypatch.delattr(inbound_mail, "content_of")
    assert part_of(posted({**FORM, "email": RAW + b"x" * SIZE})).dedupe_key == key
