"""The numbers that texts of files are."""

import pytest

from everymask.data.strict.content import whole_number


@pytest.mark.parametrize(
    ("text", "number"), [("007", 7), ("0", 0), ("", None), ("-1", None), ("²", None), ("٣", None), ("9" * 5000, None)]
)
def test_a_whole_number_has_ordinary_digits_and_not_too_many(text, number):
    assert whole_number(text) == number
