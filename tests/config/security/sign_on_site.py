"""What people do on a site with a provider. It runs in a process of its own: settings decide which apps there are.

It names each person by a code, which the provider of the test takes for theirs.
"""

import json
import re
import sys
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.core.management import call_command
from django.test import Client
from django.test.utils import setup_test_environment

from annotate.models import AuditEvent, User

PASSWORD = "correct horse battery staple"


def depart(client: Client, **fields: str) -> dict[str, str]:
    """Press the button; the parameters that the provider would get."""
    page = client.post("/accounts/sso/oidc/", fields).content.decode()
    address = re.search(r'href="([^"]*/authorize\?[^"]*)"', page)
    assert address is not None, page
    return {name: values[0] for name, values in parse_qs(urlsplit(unescape(address[1])).query).items()}


def come_back(client: Client, code: str, state: str) -> Any:
    return client.get("/accounts/sso/oidc/callback/", {"code": code, "state": state})


def signed_in_as(client: Client) -> str:
    user = User.objects.filter(pk=client.session.get("_auth_user_id")).first()
    return user.username if user is not None else ""


def come_in(code: str, client: Client | None = None, **fields: str) -> tuple[int, str]:
    client = client or Client()
    reply = come_back(client, code, depart(client, **fields)["state"])
    return reply.status_code, signed_in_as(client)


def run() -> dict[str, Any]:
    call_command("migrate", verbosity=0)
    for name, staff in (("ann", False), ("root", True)):
        user = User(username=name, email=f"{name}@team.example", is_superuser=staff, is_staff=staff)
        user.set_password(PASSWORD)
        user.save()
    found: dict[str, Any] = {"button": "Sign in with our provider" in Client().get("/accounts/login/").content.decode()}
    asked = depart(Client())
    asked["scope"] = " ".join(sorted(asked["scope"].split()))
    found["asked"] = {name: value for name, value in asked.items() if name not in ("state", "code_challenge")}
    for code in ("new", "new", "unverified", "text", "elsewhere", "ann", "root", "mixed", "foreign", "late", "refused"):
        found.setdefault(code, []).append(come_in(code))
    found["get"] = Client().get("/accounts/sso/oidc/").status_code
    found["forged"] = come_back(Client(), "new", "a-state-of-nobody").status_code
    victim = Client()
    depart(victim)
    found["anothers state"] = come_back(victim, "new", depart(Client())["state"]).status_code, signed_in_as(victim)
    ann = Client()
    ann.post("/accounts/login/", {"login": "ann", "password": PASSWORD})
    found["connected"] = come_in("unverified", ann, process="connect")
    found["then"] = come_in("unverified")
    found["taken"] = come_in("new", ann, process="connect")
    found["stranger"] = Client().post("/accounts/sso/oidc/", {"process": "connect"})["Location"]
    User.objects.filter(username="ann").update(is_active=False)
    found["closed"] = come_in("unverified")
    found["people"] = sorted(User.objects.values_list("username", flat=True))
    found["memberships"] = User.objects.get(username="new.person").memberships.count()
    found["events"] = sorted(AuditEvent.objects.values_list("verb", flat=True))
    return found


def main() -> None:
    setup_test_environment()
    json.dump(run(), sys.stdout)
