"""A manager brings a large file: it is followed on the page without a reload, and the page takes another meanwhile."""

import json
from pathlib import Path

import pytest

from annotate.models import Prompt, Upload
from rlhf import tasks
from rlhf.runs import runs
from tests.factories.cast import Cast
from tests.harness.browser import SignIn

pytestmark = pytest.mark.browser


def test_a_large_file_is_followed_to_its_end(
    cast: Cast, sign_in: SignIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings
) -> None:
    settings.HONE_DATA = tmp_path / "var"
    monkeypatch.setattr(runs, "send", lambda *message, **options: None)  # the test is the worker
    path = tmp_path / "a large file of prompts.jsonl"
    rows = [{"prompt": f"Question {n}? {'x' * 1000}", "lang": "en"} for n in range(2_500)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = sign_in("manager", at="/p/kindness/prompts/", viewport={"width": 390, "height": 844})
    page.get_by_label("File").set_input_files(path)
    page.locator("form[enctype]").get_by_role("button", name="Import", exact=True).click()
    page.get_by_text("It waits for a worker").wait_for()
    upload = Upload.objects.get()
    Upload.objects.update(state="working", rows_checked=1_200)
    page.get_by_text("1200 rows checked; nothing is written before all are.").wait_for()
    Upload.objects.update(state="working", progress=0.4)
    page.get_by_role("progressbar").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    Upload.objects.update(state="waiting")
    tasks.import_upload(upload.pk)
    page.get_by_text("2500 rows read: 2500 prompts.").wait_for()
    page.get_by_role("link", name="Show the newest prompts").click()
    page.get_by_role("link", name="Older").wait_for()
    assert Prompt.objects.count() == 2_500

    page.get_by_label("File").set_input_files(path)
    page.locator("form[enctype]").get_by_role("button", name="Import", exact=True).click()
    page.get_by_role("button", name="Cancel the import").click()
    page.get_by_text("Nothing of it was imported.").wait_for()
