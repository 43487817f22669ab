"""The benchmark of a manager's pages asks for addresses that there are."""

import pytest
from django.test import Client

from benchmarks import manager_pages
from tests.factories.cast import Cast, cast, make_comparison

__all__ = ["cast"]


@pytest.mark.django_db
def test_every_address_has_a_page(cast: Cast, client: Client) -> None:
    cast.project.slug = manager_pages.PROJECT
    cast.project.save()
    cast.labeler.username = "labeler-00"
    cast.labeler.save()
    make_comparison(cast.project, "What is one plus one?")
    client.force_login(cast.manager)
    # By the number of a task of the large database.
    addresses = {name: path for name, path in manager_pages.pages().items() if name != "one task"}
    statuses = {name: client.get(path).status_code for name, path in addresses.items()}
    assert {name: status for name, status in statuses.items() if status != 200} == {}
    assert len(statuses) > 30
