"""Requests that schemathesis makes of the API's OpenAPI document: no reply is a failure of ours, and each is as the
document says.

    python -m tests.fuzz.api_requests --requests 10000 [--seed 1]

Half of the requests keep to the document, half break it. Most name a project and records that are there, so that they
come further than a 404. The last line is JSON: requests, replies by status, failures.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KNOWN = 0.8
"""Share of the parameters of addresses that name what is there."""
UNLIMITED = 10**9


class Requests:
    """Makes requests as one person, and keeps what failed."""

    def __init__(self, *, secret: str, known: dict[str, list[str]], seed: int) -> None:
        import schemathesis
        from schemathesis.checks import not_a_server_error
        from schemathesis.specs.openapi import checks

        from config.api.reference import document
        from config.wsgi import application

        self.schema = schemathesis.openapi.from_dict(json.loads(json.dumps(document())))
        self.schema.app = application
        self.checks = [
            not_a_server_error,
            checks.status_code_conformance,
            checks.content_type_conformance,
            checks.response_schema_conformance,
        ]
        self.headers = {"Authorization": f"Bearer {secret}", "Host": "127.0.0.1"}
        self.known, self.random = known, random.Random(seed)
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []

    def make(self, count: int) -> None:
        """About so many, as many of each address and method."""
        from hypothesis import HealthCheck, Phase, given, seed, settings
        from schemathesis import GenerationMode

        operations = [found.ok() for found in self.schema.get_all_operations()]
        of_each = max(1, -(-count // (2 * len(operations))))
        for operation in operations:
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

                @seed(self.random.randrange(2**32))
                @settings(
                    max_examples=of_each,
                    deadline=None,
                    database=None,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=operation.as_strategy(generation_mode=mode))
                def one(case: Any) -> None:
                    self._send(case)

                one()

    def _send(self, case: Any) -> None:
        for name, values in self.known.items():
            if name in (case.path_parameters or {}) and self.random.random() < KNOWN:
                case.path_parameters[name] = self.random.choice(values)
        if self.random.random() < KNOWN:
            # It makes tokens of its own too, of which none is any.
            case.headers = {name: value for name, value in case.headers.items() if name.lower() != "authorization"}
        reply = case.call(headers=self.headers)
        self.statuses[reply.status_code] += 1
        try:
            case.validate_response(reply, checks=self.checks)
        except Exception as failure:  # whatever the checks raise is what was found
            self.failures.append(f"{case.method} {case.formatted_path} {case.body!r:.300}: {failure}"[:2_000])


def known_values(records: Any) -> dict[str, list[str]]:
    """What the addresses' parameters can name of a project and these records."""
    named = {name: list(map(str, records.named(name))) for name in ("prompt_id", "assignment_id", "snapshot_id")}
    named |= {name: list(map(str, records.named(name))) for name in ("run_id", "version_id")}
    own = ("answer_id", "adjudication_id", "reviewed_task_id", "judgment_id")
    named |= {name: list(map(str, records.named(name))) for name in own}
    return named | {"slug": [records.project.slug], "name": ["x.jsonl"]}


def without_limits() -> Iterator[None]:
    """Nobody is told to wait, whatever they send."""
    from config.security import request_limits
    from config.security.rate_limits import Limit

    before = request_limits.API_REQUESTS, request_limits.COSTLY
    request_limits.API_REQUESTS, request_limits.COSTLY = Limit(burst=UNLIMITED, interval=1e-9), {}
    yield
    request_limits.API_REQUESTS, request_limits.COSTLY = before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "config.settings", "HONE_DATA": folder, "HONE_LOG_LEVEL": "ERROR"}
        os.environ.pop("DATABASE_URL", None)
        import django

        django.setup()
        from django.core.management import call_command

        from annotate.people import api_tokens
        from tests.factories.cast import make_cast
        from tests.factories.records import make_records

        call_command("migrate", verbosity=0)
        call_command("collectstatic", verbosity=0, interactive=False)
        cast = make_cast()
        records = make_records(cast.project, cast.admin, "OWN")
        _token, secret = api_tokens.make(user=cast.admin, name="fuzz", scopes=api_tokens.SCOPES, days=7)
        made = Requests(secret=secret, known=known_values(records), seed=options.seed)
        for _ in without_limits():
            made.make(options.requests)
    for failure in made.failures[:20]:
        print(failure)
    said = {"requests": made.statuses.total(), "statuses": dict(sorted(made.statuses.items()))}
    print(json.dumps(said | {"failures": len(made.failures), "seed": options.seed}))
    return 1 if made.failures else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
