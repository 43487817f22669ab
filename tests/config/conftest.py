"""The people that tests of the site need."""

from tests.cast import cast

__all__ = ["cast"]
