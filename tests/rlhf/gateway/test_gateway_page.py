"""The gateway's page: what a manager sets, and what is written down of it."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from annotate.models import ApiToken, AuditEvent, GatewaySettings
from tests.factories.cast import Cast
from tests.rlhf.gateway.conftest import Program
from tests.rlhf.gateway.test_kept_conversations import user

GOOD = {
    "enabled": "on",
    "endpoint": "local",
    "served_model": "served",
    "routes": "fast local fast-model\n\nbig local org/big",
    "stores": "on",
    "prompts_per_user": "50",
}


@pytest.fixture
def manager(cast: Cast, settings: Any, client: Client) -> Client:
    settings.HONE_AI_ENDPOINTS = {"local": ("http://127.0.0.1:9/v1", "")}
    client.force_login(cast.manager)
    return client


def address(cast: Cast) -> str:
    return reverse("rlhf:gateway", args=[cast.project.slug])


def test_a_manager_opens_the_gateway(cast: Cast, manager: Client) -> None:
    assert "every request is refused" in manager.get(address(cast)).content.decode()
    for _ in range(2):
        assert manager.post(address(cast), GOOD).status_code == 302
    stored = GatewaySettings.objects.get()
    assert (stored.enabled, stored.endpoint, stored.served_model) == (True, "local", "served")
    assert (stored.stores, stored.prompts_per_user, stored.counts_feedback) == (True, 50, False)
    assert stored.routes == {
        "fast": {"endpoint": "local", "model": "fast-model"},
        "big": {"endpoint": "local", "model": "org/big"},
    }
    (event,) = AuditEvent.objects.filter(verb="gateway.changed")
    assert (event.actor, event.project, event.detail["prompts_per_user"]) == (cast.manager, cast.project, 50)
    page = manager.get(address(cast)).content.decode()
    assert "http://testserver/v1" in page
    assert "policy, big, fast" in page
    # Back to the live worker, which has no served model.
    manager.post(address(cast), {**GOOD, "endpoint": "", "routes": ""})
    stored.refresh_from_db()
    assert (stored.endpoint, stored.served_model, stored.routes) == ("", "", {})


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"served_model": ""}, "Name the model that the server has."),
        ({"routes": "fast local"}, "Line 1 is not a name, a server and a model"),
        ({"routes": "a local m\nb/ü local m"}, "Line 2 is not"),
        ({"routes": "a local m\na local m"}, "Line 2 names a model that has a server already."),
        ({"routes": "policy local m"}, "Line 1 names a model"),
        ({"routes": "\n".join(f"m{n} local m" for n in range(51))}, "up to 50"),
        ({"routes": "fast elsewhere m"}, "no AI server named elsewhere"),
        ({"endpoint": "elsewhere"}, "Select a valid choice"),
        ({"prompts_per_user": "0"}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_said_and_changes_nothing(
    cast: Cast, manager: Client, values: dict[str, str], sentence: str
) -> None:
    reply = manager.post(address(cast), GOOD | values)
    assert reply.status_code == 400
    assert sentence in reply.content.decode()
    assert not GatewaySettings.objects.exists()


def test_the_page_counts_what_was_kept(cast: Cast, manager: Client, program: Program) -> None:
    for name in ("ann", "ann", "ben"):
        key = program.ask([user("How?")], store=True, user=name).json()["id"]
    program.send("/v1/feedback", {"id": key, "rating": "up"})
    shown = manager.get(address(cast)).context
    assert (shown["kept"], shown["users"]) == (3, 2)
    assert [number for _label, number in shown["feedback"]] == [1, 0, 0]


def test_a_token_of_the_gateway_is_made_on_the_page_of_tokens(cast: Cast, client: Client) -> None:
    client.force_login(cast.researcher)
    form = {"name": "app", "scopes": ["gateway", "gateway_store"], "days": "30"}
    assert "Choose the project" in client.post(reverse("annotate:tokens"), form).content.decode()
    elsewhere = client.post(reverse("annotate:tokens"), form | {"project": str(cast.other_project.pk)})
    assert "Select a valid choice" in elsewhere.content.decode()
    assert client.post(reverse("annotate:tokens"), form | {"project": str(cast.project.pk)}).status_code == 200
    token = ApiToken.objects.get()
    assert (token.project, token.scopes) == (cast.project, ["gateway", "gateway_store"])
    assert AuditEvent.objects.get(verb="token.created").project == cast.project
