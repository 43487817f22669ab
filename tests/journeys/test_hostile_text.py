"""Hostile text in every place that shows text: nothing runs, no other host is asked, the page keeps its shape."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Request

from annotate.labeling import queue
from annotate.models import Author, Guidelines, Prompt, Response, Rubric, Snapshot
from annotate.quality import review
from rlhf.models import Iteration, ModelVersion, RunMetric, Stage, TrainingRun
from tests.factories.cast import Cast, judge, make_comparison
from tests.harness.browser import SignIn
from tests.texts import hostile

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SHORT = [text for text in hostile.TEXTS if len(text) < 110 and text.isprintable()]
NAME = "\u202eKind<script>window.pwned=1</script>ness " + "Z" + "\u0300" * 20
ADDRESS = "/p/kindness"
SLOWEST_SECONDS = 3.0

Visit = Callable[[Page, str], None]


@pytest.fixture
def visit(live_server: Any) -> Visit:
    """Opens an address, lets everything on it happen, and looks at what came of it, on a desk and on a phone."""

    def look(page: Page, path: str) -> None:
        watch(page, live_server.url)
        reply = page.goto(path)
        assert reply is not None
        assert reply.request.timing["responseStart"] / 1000 < SLOWEST_SECONDS, path
        page.wait_for_function("() => !document.querySelector('.prose .math:not(.tried)')")
        inspect(page)

    return look


def watch(page: Page, home: str) -> None:
    if getattr(page, "asked", None) is not None:
        return
    page.asked = []  # type: ignore[attr-defined]

    def note(request: Request) -> None:
        if not request.url.startswith(home):
            page.asked.append(request.url)  # type: ignore[attr-defined]

    page.on("request", note)
    page.on("dialog", lambda dialog: page.asked.append(f"dialog {dialog.message}"))  # type: ignore[attr-defined]
    page.add_init_script(
        "window.refused = [];"
        "document.addEventListener('securitypolicyviolation', (e) => window.refused.push(e.violatedDirective));"
    )
    page.goto("about:blank")


def inspect(page: Page) -> None:
    """What must hold of any page, whatever it shows."""
    assert page.evaluate("window.pwned ?? null") is None
    assert page.evaluate("window.refused") == []
    assert page.asked == []  # type: ignore[attr-defined]
    assert page.locator("#main").count() == 1
    assert page.locator(".prose :is(script, style, svg:not(.katex svg), iframe, form, input, img, object)").count() == 0
    brought = ".prose *:not(.math *, .copy, .code-block)"
    names = page.evaluate(f"[...document.querySelectorAll('{brought}')].flatMap((e) => e.getAttributeNames())")
    assert set(names) <= {"href", "target", "rel", "class", "start", "dir", "tabindex"}
    size = page.viewport_size
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 800})
        wide = page.evaluate("[document.documentElement.scrollWidth, document.body.scrollWidth]")
        assert max(wide) <= width, f"{wide} on {width} at {page.url}: {widest(page)}"
    assert size is not None
    page.set_viewport_size(size)


def widest(page: Page) -> Any:
    """The innermost elements that make the page too wide, for the message of a failure."""
    return page.evaluate(
        """() => {
            const root = document.documentElement, culprits = [];
            const search = (element) => {
                for (const child of element.children) {
                    const before = root.scrollWidth, shown = child.style.display;
                    child.style.display = 'none';
                    const helps = root.scrollWidth < before;
                    child.style.display = shown;
                    if (helps) { culprits.push(`${child.tagName}.${child.className}`); search(child); break; }
                }
            };
            search(document.body);
            return culprits;
        }"""
    )


def batches(texts: list[str], size: int) -> list[list[str]]:
    rest = iter(texts)
    return list(iter(lambda: list(islice(rest, size)), []))


def disfigure(cast: Cast) -> None:
    """Give the project and its people names, guidelines and a rubric that want to run."""
    project = cast.project
    project.name, project.description = NAME, "".join(hostile.SCRIPTS)[:500]
    project.save()
    for person, text in zip((cast.manager, cast.labeler, cast.second_labeler), SHORT[10:], strict=False):
        person.first_name, person.last_name = text[:150], NAME
        person.save()
    for number, texts in enumerate((hostile.TEXTS[:60], hostile.TEXTS[60:168]), start=10):
        Guidelines.objects.create(project=project, version=number, text="\n\n".join(texts)[:190_000])
    labels = [{"name": f"c{n}", "label": text, "min": 1, "max": 5, "help": text} for n, text in enumerate(SHORT[:3])]
    flags = [{"name": f"f{n}", "label": text, "help": text} for n, text in enumerate(SHORT[3:9])]
    Rubric.objects.create(project=project, version=9, criteria=labels, flags=flags)


def test_prompts_and_responses_on_the_board(transactional_db: None, cast: Cast, sign_in: SignIn, visit: Visit) -> None:
    disfigure(cast)
    sets = batches(hostile.TEXTS, 9)
    for texts in sets:
        make_comparison(cast.project, texts[0], texts=(*texts, "filler")[:9])
    page = sign_in("labeler")
    visit(page, "/")
    seen: set[str] = set()
    while (assignment := queue.claim_next(labeler=cast.labeler, project=cast.project)) is not None:
        visit(page, f"{ADDRESS}/work/")
        responses = assignment.task.responses.values_list("text", flat=True)
        assert page.locator(".response").count() == len(responses)
        seen.update(responses)
        judge(assignment, [list(assignment.presentation)])
    assert seen >= set(hostile.TEXTS)


def test_names_comments_and_guidelines(transactional_db: None, cast: Cast, sign_in: SignIn, visit: Visit) -> None:
    disfigure(cast)
    cast.project.overlap = 2
    cast.project.save()
    for texts in batches(hostile.TEXTS, 25):
        make_comparison(cast.project, texts[0], texts=(texts[0][:500], texts[-1][:500]))
        for labeler in (cast.labeler, cast.second_labeler):
            assignment = queue.claim_next(labeler=labeler, project=cast.project)
            assert assignment is not None
            comment = "\n".join(texts)[:19_000]
            notes = {str(key): "\n".join(texts)[:3_900] for key in assignment.presentation}
            judge(assignment, [list(assignment.presentation)], comment=comment, notes=notes)
            judgment = assignment.judgment
            review.send_back(judgment=judgment, by=cast.reviewer, comment=comment[:3_900])
    labeler = sign_in("labeler")
    for path in ("/", "/account/", f"{ADDRESS}/mine/", f"{ADDRESS}/guidelines/", f"{ADDRESS}/guidelines/?version=10"):
        visit(labeler, path)
    for assignment in cast.labeler.assignments.all():
        visit(labeler, f"{ADDRESS}/work/{assignment.pk}/")
    manager = sign_in("manager")
    for path in ("", "review/", "people/", "settings/", "guidelines/", "tasks/"):
        visit(manager, f"{ADDRESS}/{path}")
    for judged in cast.project.judgments.all()[:6]:
        visit(manager, f"{ADDRESS}/review/{judged.pk}/")


def test_prompts_imports_and_exports(
    transactional_db: None, cast: Cast, sign_in: SignIn, visit: Visit, tmp_path: Path
) -> None:
    disfigure(cast)
    for number, text in enumerate(hostile.TEXTS):
        Prompt.objects.create(
            project=cast.project,
            messages=[{"role": "user", "content": f"{number} {text}"}],
            language=SHORT[number % len(SHORT)][:10],
            source=SHORT[number % len(SHORT)][:200],
        )
    for text in SHORT:
        Snapshot.objects.create(
            project=cast.project, kind=Snapshot.Kind.PROMPTS, format="hone", state="failed", error=text * 9
        )
    page = sign_in("manager")
    address = f"{ADDRESS}/prompts/"
    while address:
        visit(page, address)
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        inspect(page)
        older = page.locator("nav.pages a[rel=next]")
        address = f"{ADDRESS}/prompts/{older.get_attribute('href')}" if older.count() else ""
    visit(page, f"{ADDRESS}/exports/")
    sign_in.expected.append(" 400 ")  # type: ignore[attr-defined]
    for name, rows in (
        ("<img src=x onerror=window.pwned=1>.jsonl", [{"prompt": [{"role": t, "content": "x"}]} for t in SHORT[:40]]),
        ("\u202elnosj.jsonl", [{text: text} for text in SHORT[:40]]),
        ("nul.jsonl", [{"prompt": [{"role": "user", "content": text}]} for text in hostile.UNSTORABLE]),
    ):
        file = tmp_path / name
        file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        page.goto(f"{ADDRESS}/prompts/")
        page.set_input_files("input[type=file]", file)
        page.locator("form[enctype] button.primary").click()
        page.locator(".notice.error, .field .error").first.wait_for()
        inspect(page)


def test_pages_of_training(transactional_db: None, cast: Cast, sign_in: SignIn, visit: Visit) -> None:
    disfigure(cast)
    project = cast.project
    text = "\n".join(hostile.TEXTS)
    author = Author.objects.create(kind=Author.Kind.MODEL, name="x")
    version = ModelVersion.objects.create(
        project=project, kind="base", number=1, base_model=SHORT[3], author=author, active=True
    )
    ModelVersion.objects.create(project=project, kind="reward", number=1, base_model=SHORT[5], metrics={"loss": 1.5})
    for status, number in (("failed", 1), ("queued", 2), ("cancelled", 3)):
        run = TrainingRun.objects.create(
            project=project, stage=Stage.SFT, status=status, error=text[:9_000], log=text[:60_000],
            activity=SHORT[number], config={SHORT[7]: text[:2_000]}, options={SHORT[8]: SHORT[9]},
            result={"notes": SHORT, SHORT[4]: 1.0}, folder=SHORT[6], created_by=cast.manager,
        )  # fmt: skip
        run.run_inputs.create(version=version, role="model")
        for name in SHORT[:20]:
            RunMetric.objects.create(run=run, step=1, name=name[:60], value=1.0)
            RunMetric.objects.create(run=run, step=2, name=name[:60], value=2.0)
        Iteration.objects.create(project=project, number=number, state="failed", reason=text[:3_000], numbers={})
    Response.objects.create(prompt=Prompt.objects.create(project=project, messages=[]), text="", author=author)
    page = sign_in("manager")
    for path in ("training/", "models/", "loop/", "training/new/sft", "training/new/ppo"):
        visit(page, f"{ADDRESS}/{path}")
    for run in TrainingRun.objects.all():
        visit(page, f"{ADDRESS}/runs/{run.pk}/")
        page.evaluate("document.querySelectorAll('details').forEach((details) => { details.open = true; })")
        inspect(page)
