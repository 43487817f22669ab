"""Times on pages: one form in each language, in the reader's time zone, which is named."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone, translation
from django.utils.formats import date_format

from annotate.labeling import queue
from annotate.models import Prompt, User
from annotate.rendering import local_times
from tests.factories.cast import Cast, judge, make_comparison

WHEN = datetime(2026, 11, 28, 13, 5, 9, tzinfo=UTC)
TEMPLATES = Path(settings.BASE_DIR) / "templates"


@pytest.mark.parametrize(
    ("zone", "language", "shown"),
    [
        ("UTC", "en", "28 Nov 2026, 13:05 UTC"),
        ("Europe/Berlin", "en", "28 Nov 2026, 14:05 UTC+1"),
        ("Asia/Kolkata", "en", "28 Nov 2026, 18:35 UTC+5:30"),
        ("America/St_Johns", "en", "28 Nov 2026, 09:35 UTC-3:30"),
        ("Asia/Shanghai", "zh-hans", "2026年11月28日 21:05 UTC+8"),
    ],
)
def test_a_moment_is_unambiguous_and_names_its_zone(zone: str, language: str, shown: str) -> None:
    with timezone.override(ZoneInfo(zone)), translation.override(language):
        assert local_times.moment(WHEN) == (f'<time datetime="2026-11-28T13:05:09+00:00" title="{zone}">{shown}</time>')


def test_a_day_is_the_readers_day() -> None:
    late = datetime(2026, 11, 28, 23, 30, tzinfo=UTC)
    with timezone.override(ZoneInfo("Asia/Shanghai")):
        assert local_times.day(late) == '<time datetime="2026-11-29">29 Nov 2026</time>'
    assert local_times.day(date(2026, 5, 1)) == '<time datetime="2026-05-01">1 May 2026</time>'
    assert (local_times.moment(None), local_times.day(None)) == ("–", "–")


def test_offsets_are_written_in_hours_and_minutes() -> None:
    offsets = [timedelta(0), timedelta(hours=14), timedelta(hours=-9, minutes=-30)]
    assert [local_times.offset_name(offset) for offset in offsets] == ["UTC", "UTC+14", "UTC-9:30"]


@pytest.mark.parametrize("name", ["DATE_FORMAT", "SHORT_DATE_FORMAT", "DATETIME_FORMAT", "SHORT_DATETIME_FORMAT"])
def test_no_form_of_english_dates_is_american(name: str) -> None:
    with translation.override("en"):
        assert date_format(datetime(2026, 2, 3, 4, 5, tzinfo=UTC), name).startswith("3 Feb 2026")


def test_templates_show_times_in_no_other_way() -> None:
    """By the filters `moment`, `day` and `day_text` alone."""
    other = re.compile(r"\|\s*(?:date|time|localtime|timezone|utc)\b|{%\s*now\b")
    found = {str(path): other.findall(path.read_text()) for path in TEMPLATES.rglob("*.html")}
    assert {path: uses for path, uses in found.items() if uses} == {}


@pytest.mark.django_db
class TestTheReadersZone:
    @pytest.fixture
    def client(self, cast: Cast) -> Client:
        judge_one(cast)
        return signed_in("labeler")

    def test_is_the_browsers(self, client: Client) -> None:
        client.cookies[local_times.ZONE_COOKIE] = "Asia/Kolkata"
        assert " UTC+5:30</time>" in client.get("/p/kindness/mine/").content.decode()

    def test_is_the_accounts_before_that(self, client: Client, cast: Cast) -> None:
        account = {"language": "en", "theme": "system", "sensitive_choice": "", "time_zone": "America/St_Johns"}
        assert client.post("/account/", account).status_code == 302
        client.cookies[local_times.ZONE_COOKIE] = "Asia/Kolkata"
        assert re.search(r" UTC-[23]:30</time>", client.get("/p/kindness/mine/").content.decode())
        refused = client.post("/account/", account | {"time_zone": "Mars/Base"})
        assert "Select a valid choice" in refused.content.decode()

    @pytest.mark.parametrize("cookie", ["", "../../etc/passwd", "Mars/Base", "a" * 5000])
    def test_is_utc_where_nobody_says(self, client: Client, cookie: str) -> None:
        client.cookies[local_times.ZONE_COOKIE] = cookie
        assert " UTC</time>" in client.get("/p/kindness/mine/").content.decode()

    def test_ends_with_the_request(self, client: Client) -> None:
        client.cookies[local_times.ZONE_COOKIE] = "Asia/Kolkata"
        client.get("/p/kindness/mine/")
        assert timezone.get_current_timezone_name() == "UTC"


@pytest.mark.django_db
def test_lists_show_nothing_of_a_prompt_that_may_upset(cast: Cast) -> None:
    judge_one(cast)
    Prompt.objects.update(sensitive=True)
    for username, path in (("labeler", "mine/"), ("reviewer", "review/"), ("manager", "exam/settings/")):
        page = signed_in(username).get(f"/p/kindness/{path}").content.decode()
        assert "boil an egg" not in page, path
        if username != "manager":
            assert "Covered: this prompt may upset." in page


def judge_one(cast: Cast) -> None:
    make_comparison(cast.project)
    assignment = queue.claim_next(labeler=cast.labeler, project=cast.project)
    assert assignment is not None
    judge(assignment, [[key] for key in assignment.presentation])


def signed_in(username: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(username=username), backend="annotate.people.backends.PasswordBackend")
    return client
