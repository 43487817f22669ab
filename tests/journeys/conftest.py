"""The people on the journeys."""

from tests.factories.cast import cast

__all__ = ["cast"]
