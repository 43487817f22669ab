"""What is in use: shown before it changes, remembered, and gone back from."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from annotate.models import Snapshot
from rlhf.loop import versions
from rlhf.models import ModelVersion, Promotion, TrainingRun
from tests.factories.cast import Cast

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def messages(nothing_sent: None) -> None:
    """No worker hears of anything."""


@pytest.fixture
def policies(cast: Cast, base: ModelVersion) -> list[ModelVersion]:
    return [
        ModelVersion.objects.create(
            project=cast.project, kind="policy", number=n, folder=f"runs/{n}", metrics={"kl": n}
        )
        for n in (1, 2)
    ]


@pytest.fixture
def client(cast: Cast) -> Client:
    signed_in = Client()
    signed_in.force_login(cast.researcher, backend="annotate.people.backends.PasswordBackend")
    return signed_in


def url(cast: Cast, name: str, *arguments: Any) -> str:
    return reverse(f"rlhf:{name}", args=[cast.project.slug, *arguments])


def promote(*models: ModelVersion) -> None:
    for version in models:
        versions.promote(version, by=None)


def test_what_was_rolled_back_from_is_not_offered_again(base: ModelVersion, policies: list[ModelVersion]) -> None:
    first, second = policies
    promote(first, second)
    assert versions.roll_back(second, by=None) == first
    assert versions.previous(first) == base
    assert versions.roll_back(first, by=None) == base
    assert versions.previous(base) is None


def test_a_promotion_after_going_back_is_gone_back_from_to_where_it_began(
    base: ModelVersion, policies: list[ModelVersion]
) -> None:
    first, second = policies
    promote(first)
    versions.roll_back(first, by=None)
    promote(second, first, second)
    assert [versions.roll_back(version, by=None) for version in (second, first, second)] == [first, second, base]
    changes = Promotion.objects.order_by("pk").values_list("verb", "version__number", "replaced__number")
    assert list(changes[:3]) == [("promote", 1, None), ("promote", 1, 1), ("roll_back", 1, 1)]


def test_promoting_what_is_in_use_changes_nothing(base: ModelVersion, policies: list[ModelVersion]) -> None:
    promote(policies[0], policies[0])
    assert Promotion.objects.filter(version=policies[0]).count() == 1
    assert versions.previous(policies[0]) == base


def test_a_model_of_one_demonstration_is_put_into_use_after_a_page_that_says_so(
    cast: Cast, base: ModelVersion, client: Client
) -> None:
    snapshot = Snapshot.objects.create(
        project=cast.project, kind="demonstrations", state="ready", rows=1, sha256="0" * 64
    )
    tuned = ModelVersion.objects.create(project=cast.project, kind="sft", number=1, folder="runs/1", metrics={})
    TrainingRun.objects.create(
        project=cast.project, stage="sft", status="succeeded", snapshot=snapshot, produced=tuned, result={}
    )
    page = client.get(url(cast, "promote", tuned.pk))
    said = page.content.decode()
    assert "It was trained on 1 row, too few to generalise." in said
    assert "It has no evaluation metrics." in said
    assert "It replaces <bdi>Base model 1</bdi>." in said

    # A press of a button that was never on that page changes nothing, nor does one below what is out of date.
    for posted in ({}, {"instead_of": str(tuned.pk)}, {"instead_of": "nonsense"}):
        assert client.post(url(cast, "promote", tuned.pk), posted).status_code == 409
    assert versions.active_policy(cast.project) == base
    assert client.post(url(cast, "promote", tuned.pk), {"instead_of": str(base.pk)}).status_code == 302
    assert versions.active_policy(cast.project) == tuned


def test_the_page_of_models_lists_what_was_in_use_newest_first(
    cast: Cast, base: ModelVersion, policies: list[ModelVersion], client: Client
) -> None:
    versions.promote(policies[0], by=cast.researcher)
    versions.roll_back(policies[0], by=cast.researcher)
    said = client.get(url(cast, "models")).content.decode()
    links = [f'<a href="{url(cast, "model", version.pk)}">{version.label}</a>' for version in (base, policies[0])]
    assert said.index(f"rolled back to {links[0]}") < said.index(f"{links[1]} put into use")
    assert f"/models/{base.pk}/roll-back" not in said


def test_a_reward_model_of_which_the_report_says_no_comes_with_a_warning(
    cast: Cast, base: ModelVersion, client: Client
) -> None:
    reward = ModelVersion.objects.create(
        project=cast.project, kind="reward", number=1, folder="runs/1", metrics={"accuracy": 0.5}
    )
    TrainingRun.objects.create(
        project=cast.project, stage="reward", status="succeeded", produced=reward, result={"ready_for_ppo": False}
    )
    said = client.get(url(cast, "promote", reward.pk)).content.decode()
    assert "The verdict of its report is negative: not good enough for PPO." in said
    assert client.post(url(cast, "promote", reward.pk), {"instead_of": ""}).status_code == 302
    assert versions.active_reward(cast.project) == reward
