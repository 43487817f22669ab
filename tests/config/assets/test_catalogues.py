"""The other language of the pages: nothing that is said is missing, and a translation has the parts of its message."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from django.conf import settings
from django.test import Client
from django.utils import formats, translation

from annotate.models import User
from annotate.views.preferences import catalogue_url
from config import catalogues
from tests.factories.cast import PASSWORD, Cast, cast

__all__ = ["cast"]

PARTS = re.compile(r"%\(\w+\)[a-z]|%%|%[a-z]|</?[a-z]+[^>]*>|&[a-z]+;")
EVERY = [(language, domain) for language in catalogues.LANGUAGES for domain in catalogues.DOMAINS]


def key(message: Message) -> tuple[str | tuple[str, ...], str | None]:
    return message.id if isinstance(message.id, str) else tuple(message.id), message.context


def messages(catalog: Catalog) -> dict[tuple[str | tuple[str, ...], str | None], Message]:
    return {key(message): message for message in catalog if message.id}


@pytest.mark.parametrize(("language", "domain"), EVERY)
def test_what_is_said_is_translated_and_nothing_else(language: str, domain: str) -> None:
    source, catalog = messages(catalogues.source_messages(domain)), messages(catalogues.read(language, domain))
    assert set(source) - set(catalog) == set()
    assert set(catalog) - set(source) == set()
    assert len(catalog) > 20
    for message in catalog.values():
        strings = message.string if isinstance(message.string, tuple) else (message.string,)
        assert all(string.strip() for string in strings), message.id
        assert not message.fuzzy, message.id


@pytest.mark.parametrize(("language", "domain"), EVERY)
def test_a_translation_has_the_placeholders_and_marks_of_its_message(language: str, domain: str) -> None:
    for message in messages(catalogues.read(language, domain)).values():
        wanted = message.id if isinstance(message.id, str) else message.id[-1]
        for string in message.string if isinstance(message.string, tuple) else (message.string,):
            assert sorted(PARTS.findall(string)) == sorted(PARTS.findall(wanted)), message.id
            assert string.startswith(" ") == wanted.startswith(" ") or string[0] in "，；。", message.id


def test_templates_and_scripts_are_read_by_line_and_plural(tmp_path: Path) -> None:
    template = tmp_path / "x.html"
    template.write_text(
        '<p title="{% translate "A title" %}">\n    {% blocktranslate trimmed count n=count %}\n      {{ n }} egg\n'
        "    {% plural %}\n      {{ n }} eggs\n    {% endblocktranslate %}</p>\n  {% if x %}not said{% endif %}"
    )
    with template.open("rb") as file:
        found = [message for _, _, message, _ in catalogues.extract_template(file, catalogues.KEYWORDS, (), {})]
    assert found == ["A title", ("%(n)s egg", "%(n)s eggs", None)]


class TestWhoReadsWhat:
    """An account's choice goes before the cookie, that before the browser's, and that before the installation's."""

    def language(self, client: Client, **headers: str) -> str:
        page = client.get("/accounts/login/", headers=headers).content.decode()
        found = re.search(r'<html lang="([a-z-]+)"', page)
        assert found
        return found[1]

    def test_the_browsers_header_decides_for_strangers(self, db: None, client: Client) -> None:
        assert self.language(client) == "en"
        for tag in ("zh-CN", "zh-Hans-CN,en;q=0.5", "zh"):
            assert self.language(client, accept_language=tag) == "zh-hans"
        assert self.language(client, accept_language="de,en;q=0.7") == "en"

    def test_the_switch_in_the_foot_is_kept_before_signing_in(self, db: None, client: Client) -> None:
        reply = client.post("/preferences", {"language": "zh-hans", "next": "/accounts/login/"})
        assert reply["Location"] == "/accounts/login/"
        assert self.language(client, accept_language="en") == "zh-hans"
        assert "登录" in client.get("/accounts/login/").content.decode()

    def test_an_accounts_choice_goes_with_the_person(self, cast: Cast, client: Client) -> None:
        client.force_login(cast.labeler)
        client.post("/preferences", {"language": "zh-hans", "theme": "dark"})
        labeler = User.objects.get(pk=cast.labeler.pk)
        assert (labeler.language, labeler.theme) == ("zh-hans", "dark")
        elsewhere = Client()
        elsewhere.post("/accounts/login/", {"login": "labeler", "password": PASSWORD})
        page = elsewhere.get("/", headers={"accept-language": "en"}).content.decode()
        assert '<html lang="zh-hans" data-theme="dark">' in page

    @pytest.mark.parametrize("back", ["//evil.example/", "https://evil.example/", "javascript:alert(1)", ""])
    def test_the_switch_leads_nowhere_else(self, db: None, client: Client, back: str) -> None:
        assert client.post("/preferences", {"theme": "dark", "next": back})["Location"] == "/"
        assert client.cookies["theme"].value == "dark"

    def test_what_there_is_not_is_refused(self, db: None, client: Client) -> None:
        for fields in ({"language": "xx"}, {"theme": "<script>"}):
            assert client.post("/preferences", fields).status_code == 400
        assert client.get("/preferences").status_code == 405

    def test_dates_and_numbers_are_written_as_in_the_language(self, db: None) -> None:
        day = datetime(2026, 3, 9, 15, 4, tzinfo=UTC)
        with translation.override("zh-hans"):
            assert formats.date_format(day, "DATE_FORMAT") == "2026年3月9日"
        with translation.override("en"):
            assert formats.date_format(day, "DATE_FORMAT") == "9 Mar 2026"


def test_scripts_get_their_messages_once_for_each_version(db: None, client: Client) -> None:
    address = catalogue_url("zh-hans")
    reply = client.get(address)
    assert reply["Content-Type"].startswith("text/javascript")
    assert "immutable" in reply["Cache-Control"]
    assert '"Copy": "\\u590d\\u5236"' in reply.content.decode()
    assert address != catalogue_url("en")
    assert client.get("/i18n/xx.0123.js").status_code == 404
    assert {code for code, _ in settings.LANGUAGES} == {"en", "zh-hans"}
