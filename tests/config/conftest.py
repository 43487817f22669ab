"""The people that tests of the site need."""

from tests.factories.cast import cast

__all__ = ["cast"]
