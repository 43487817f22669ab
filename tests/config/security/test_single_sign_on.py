"""Sign-in through an OpenID Connect provider: a small one on this machine, and a site that is configured for it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.any_database
CLIENT, SECRET = "hone", "a secret of the client"
PEOPLE: dict[str, dict[str, Any]] = {
    "new": {"sub": "1", "email": "new.person@team.example", "email_verified": True, "given_name": "New"},
    "unverified": {"sub": "2", "email": "ann@team.example", "email_verified": False},
    "text": {"sub": "3", "email": "text@team.example", "email_verified": "false"},
    "elsewhere": {"sub": "4", "email": "eve@team.example.org", "email_verified": True},
    # Who claims the names and the addresses of accounts that there are.
    "ann": {"sub": "5", "email": "ann@team.example", "email_verified": True, "preferred_username": "ann"},
    "root": {"sub": "6", "email": "root@team.example", "email_verified": True, "preferred_username": "ROOT"},
    "mixed": {"sub": "7", "email": "mixed@team.example", "email_verified": True},
    "foreign": {"sub": "8", "email": "foreign@team.example", "email_verified": True},
    "late": {"sub": "9", "email": "late@team.example", "email_verified": True},
}


class Provider(BaseHTTPRequestHandler):
    """Its codes are names of PEOPLE. A token takes the secret of the client and a verifier of PKCE."""

    def do_GET(self) -> None:
        issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        if self.path == "/.well-known/openid-configuration":
            self.reply({
                "issuer": issuer, "authorization_endpoint": f"{issuer}/authorize", "token_endpoint": f"{issuer}/token",
                "userinfo_endpoint": f"{issuer}/userinfo", "jwks_uri": f"{issuer}/jwks",
                "token_endpoint_auth_methods_supported": ["client_secret_post"],
            })  # fmt: skip
        elif self.path == "/userinfo":
            code = self.headers["Authorization"].removeprefix("Bearer ")
            self.reply(PEOPLE[code] | ({"sub": "1"} if code == "mixed" else {}))
        else:
            self.reply({}, status=404)

    def do_POST(self) -> None:
        given = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        fields = {name: values[0] for name, values in given.items()}
        code, verifier = fields["code"], fields.get("code_verifier", "")
        is_client = (fields["client_id"], fields["client_secret"]) == (CLIENT, SECRET)
        if code not in PEOPLE or not is_client or len(verifier) < 43:
            self.reply({"error": "invalid_grant"}, status=400)
            return
        issuer = f"http://127.0.0.1:{self.server.server_address[1]}"
        claims = {"iss": issuer, "aud": CLIENT, "sub": PEOPLE[code]["sub"], "iat": int(time.time())}
        claims["exp"] = int(time.time()) + (-3600 if code == "late" else 300)
        if code == "foreign":
            claims["aud"] = "another client"
        token = jwt.encode(claims, "k" * 32, algorithm="HS256")
        self.reply({"access_token": code, "token_type": "Bearer", "id_token": token})

    def reply(self, body: dict[str, Any], *, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def seen(
    issuer: str, migrated_sqlite: Callable[[Path], None], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the site did, step by step (tests/config/security/sign_on_site.py)."""
    folder = tmp_path_factory.mktemp("site")
    migrated_sqlite(folder)
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"} | {
        "HONE_DATA": str(folder), "HONE_OIDC_ISSUER": issuer, "HONE_OIDC_CLIENT_ID": CLIENT,
        "HONE_OIDC_CLIENT_SECRET": SECRET, "HONE_OIDC_DOMAINS": "team.example", "HONE_OIDC_NAME": "our provider",
        "HONE_DEBUG": "1",
    }  # fmt: skip
    program = "import django; django.setup(); from tests.config.security import sign_on_site; sign_on_site.main()"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_way_there(seen: dict[str, Any]) -> None:
    assert seen["button"] is True
    assert seen["asked"] == {
        "client_id": CLIENT, "redirect_uri": "http://testserver/accounts/sso/oidc/callback/", "response_type": "code",
        "scope": "email openid profile", "code_challenge_method": "S256",
    }  # fmt: skip
    assert seen["get"] == 405, "another site could start it"


def test_a_new_person_of_an_allowed_domain_gets_one_account_without_a_project(seen: dict[str, Any]) -> None:
    assert seen["new"] == [[302, "new.person"], [302, "new.person"]]
    assert seen["memberships"] == 0


@pytest.mark.parametrize("who", ["unverified", "text", "elsewhere", "mixed", "foreign", "late", "refused"])
def test_nobody_else_comes_in(seen: dict[str, Any], who: str) -> None:
    """Unverified, of another domain, two answers about two people, a token for another client, an old one, no code."""
    assert seen[who] == [[403, ""]]


def test_names_and_addresses_of_accounts_open_none_of_them(seen: dict[str, Any]) -> None:
    assert seen["ann"] == [[302, "ann2"]]
    assert seen["root"] == [[302, "ROOT2"]]


def test_a_state_of_another_browser_is_refused(seen: dict[str, Any]) -> None:
    assert seen["forged"] == 403
    assert seen["anothers state"] == [403, ""]


def test_an_account_is_connected_by_its_owner_and_signs_in_from_then_on(seen: dict[str, Any]) -> None:
    assert seen["connected"] == [302, "ann"]
    assert seen["then"] == [302, "ann"]
    assert seen["taken"] == [403, "ann"], "somebody else's"
    assert seen["stranger"] == "/accounts/login/"
    assert seen["closed"] == [403, ""]


def test_what_changed_is_in_the_audit_log(seen: dict[str, Any]) -> None:
    assert seen["people"] == ["ROOT2", "ann", "ann2", "new.person", "root"]
    assert seen["events"] == ["account.created"] * 3 + ["single_sign_on.connected"]


def test_a_wrong_setting_is_said(tmp_path: Path) -> None:
    for wrong in ({"HONE_OIDC_ISSUER": "http://login.example"}, {"HONE_OIDC_ISSUER": "https://login.example"}):
        environment = {**os.environ, "HONE_DATA": str(tmp_path), **wrong}
        command = [sys.executable, "manage.py", "check"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert "Hone can't start: HONE_OIDC_ISSUER" in done.stderr
