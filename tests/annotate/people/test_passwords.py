"""Long passwords that are easily guessed are refused, others are not."""

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from annotate.models import User
from tests.factories.cast import PASSWORD


def codes(password: str, **names: str) -> set[str]:
    try:
        validate_password(password, User(**{"username": "labeler1", **names}))
    except ValidationError as error:
        return {each.code for each in error.error_list}
    return set()


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("labeler1labeler1", "password_is_own_name"),
        ("LABELER1-labeler1!", "password_is_own_name"),
        ("labeler1-password", "password_is_own_name"),
        ("1relebal1relebal", "password_is_own_name"),
        ("my1labeler1is", "password_is_own_name"),
        ("nora-Berg-Nora-1", "password_is_own_name"),
        ("abcabcabcabc", "password_repeats"),
        ("correctcorrect", "password_repeats"),
        ("Xy7!Xy7!Xy7!Xy", "password_repeats"),
        ("aaaaaaaaaaaa", "password_repeats"),
        ("aabbaabbab", "password_has_few_characters"),
        ("abcdefghijkl", "password_is_a_sequence"),
        ("zyxwvutsrqponm", "password_is_a_sequence"),
        ("qwertyuiop", "password_is_a_sequence"),
        ("poiuytrewq1234567890", "password_is_a_sequence"),
        ("abcdefgh12345678", "password_is_a_sequence"),
        ("hon123456789", "password_is_a_sequence"),
        ("aaaaabbbbbcccccdddddeeeee!", "password_is_a_sequence"),
    ],
)
def test_is_refused(password: str, code: str) -> None:
    assert code in codes(password, first_name="Nora", last_name="Berg")


@pytest.mark.parametrize(
    "password",
    [
        PASSWORD,
        "a door of one's own",
        "labeler1 paints nine blue hens",
        "tr0ub4dor&3-plus",
        "我每天早上喝两杯很浓的绿茶",
        "xK9$mQ2!vB7#",
        "believable liquids, li",
    ],
)
def test_is_taken(password: str) -> None:
    assert codes(password) == set()


def test_without_a_person_there_are_no_names() -> None:
    validate_password("nora-berg-nora-1")


def test_a_long_one_takes_no_time() -> None:
    """The prefix function is linear; a nested comparison would take minutes here."""
    assert codes("ab" * 50_000 + "c" * 20_000) == {"password_has_few_characters"}
