"""docs/threats.md names tests as its proofs: they have to be there."""

import re

import pytest
from django.conf import settings

NAMED = re.findall(r"`(test_\w+\.py)(?:::(test_\w+))?`", (settings.BASE_DIR / "docs" / "threats.md").read_text())
FILES = {path.name: path.read_text() for path in settings.BASE_DIR.glob("*/tests/test_*.py")}


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_each_proof_is_a_test_that_there_is(file, test):
    assert not test or re.search(rf"^def {test}\(", FILES[file], re.MULTILINE), f"{file}::{test}"
    assert file in FILES


def test_there_are_proofs():
    assert len(NAMED) > 30
