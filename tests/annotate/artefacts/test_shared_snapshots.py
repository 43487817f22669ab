"""Snapshots of hosts that share a bucket: made on one, read on another, and what a fault of the storage says where."""

import pytest
from django.test import Client
from django.urls import reverse

from annotate.artefacts import folders
from annotate.data import snapshots
from annotate.errors import Refused
from tests.factories.cast import Cast, cast, make_prompt
from tests.harness.s3_server import SharedBucket, s3_client, shared_bucket

__all__ = ["cast", "s3_client", "shared_bucket"]
pytestmark = pytest.mark.django_db


def test_a_snapshot_made_on_one_host_is_downloaded_from_another(cast: Cast, shared_bucket: SharedBucket) -> None:
    make_prompt(cast.project, "What is red?")
    snapshot = snapshots.freeze(project=cast.project, kind="prompts")
    made = {name: (snapshots.folder_of(snapshot) / name).read_bytes() for name in snapshot.files}
    data = shared_bucket.at("b")
    assert snapshots.verify(snapshot) == ()
    assert {path.name: path.read_bytes() for path in (data / snapshot.folder).iterdir()} == made
    client = Client()
    client.force_login(cast.manager)
    place = reverse("annotate:download", args=[cast.project.slug, snapshot.pk, "README.md"])
    shared_bucket.at("c")
    response = client.get(place)
    assert b"".join(response.streaming_content) == made["README.md"]  # type: ignore[attr-defined]
    # One that this host has is not asked for again; without it the page says so, and no server's name.
    shared_bucket.settings.HONE_ARTEFACTS = "s3://no-such-bucket"
    assert client.get(place).status_code == 200
    shared_bucket.at("d")
    client.raise_request_exception = False
    page = client.get(place)
    assert (page.status_code, page["Retry-After"]) == (503, "5")
    assert "The storage of models and exports is not available at the moment." in page.content.decode()
    assert "no-such-bucket" not in page.content.decode()


def test_a_snapshot_that_is_not_published_fails_and_may_be_tried_again(cast: Cast, shared_bucket: SharedBucket) -> None:
    make_prompt(cast.project, "What is red?")
    location, shared_bucket.settings.HONE_ARTEFACTS = shared_bucket.settings.HONE_ARTEFACTS, "s3://no-such-bucket"
    sentence = "The storage s3://no-such-bucket has no bucket no-such-bucket. Create it, or correct HONE_ARTEFACTS."
    with pytest.raises(Refused, match=sentence):
        snapshots.freeze(project=cast.project, kind="prompts")
    snapshot = cast.project.snapshots.get()
    assert (snapshot.state, snapshot.error) == ("failed", sentence)
    shared_bucket.settings.HONE_ARTEFACTS = location
    snapshot = snapshots.build(snapshot.pk)
    assert (snapshot.state, snapshot.error) == ("ready", "")
    published = folders.published(snapshot.folder)
    assert published is not None
    assert {name: file.sha256 for name, file in published.files.items()} == {
        name: known["sha256"] for name, known in snapshot.files.items()
    }
