"""The people on the journeys."""

from tests.cast import cast

__all__ = ["cast"]
