"""Sizes as a terminal shows them."""

from django.template.defaultfilters import filesizeformat


def in_bytes(count: int) -> str:
    """1.5 MB, with a plain space: a terminal may have no other."""
    return filesizeformat(count).replace("\xa0", " ")
