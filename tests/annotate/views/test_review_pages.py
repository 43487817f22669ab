"""Review lists judgments of every kind with what they say, shows each in full, and takes an acceptance or a return."""

import pytest
from django.test import Client

from annotate.labeling import queue
from annotate.models import AuditEvent, Judgment, JudgmentAcceptance, Prompt, Task, User
from annotate.people.projects import edit_project
from tests.factories.cast import Cast, hand_in, judge, make_comparison, make_prompt, make_responses

pytestmark = pytest.mark.django_db
CRITERIA = [{"name": "overall", "label": "Overall quality", "min": 1, "max": 7}]
PROMPT = {"kind": "plain", "query": "Why is the sky blue?", "language": "en"}


@pytest.fixture
def reviewer(cast: Cast) -> Client:
    client = Client()
    client.force_login(cast.reviewer, backend="annotate.people.backends.PasswordBackend")
    return client


@pytest.fixture
def judgments(cast: Cast) -> dict[str, Judgment]:
    """One of each kind but the chat's, which needs turns."""
    kinds = ["compare", "rate", "demonstrate", "write_prompt"]
    edit_project(project=cast.project, by=cast.manager, task_kinds=kinds, criteria=CRITERIA)
    cast.project.refresh_from_db()
    make_comparison(cast.project, "Which is best?", priority=9)
    rated = make_prompt(cast.project, "Rate this.")
    rate = Task.objects.create(project=cast.project, kind="rate", prompt=rated, priority=8)
    rate.task_responses.create(response=make_responses(rated, "In water.")[0], number=0)
    Task.objects.create(
        project=cast.project, kind="demonstrate", prompt=make_prompt(cast.project, "Show me."), priority=7
    )
    Task.objects.create(project=cast.project, kind="write_prompt", priority=6)
    found = {}
    for kind in kinds:
        current = queue.claim_next(labeler=cast.labeler, project=cast.project)
        assert current is not None
        assert current.task.kind == kind
        if kind == "compare":
            a, b, c, d = current.presentation
            receipt = judge(current, [[b], [a, c], [d]])
        elif kind == "rate":
            receipt = hand_in(current, ratings={str(current.presentation[0]): {"overall": 6}})
        else:
            receipt = hand_in(current, {"text": "Like **this**."} if kind == "demonstrate" else PROMPT)
        found[kind] = receipt.judgment
    return found


def test_the_list_says_what_each_judgment_of_each_kind_says(judgments: dict[str, Judgment], reviewer: Client) -> None:
    page = reviewer.get("/p/kindness/review/").content.decode()
    for said in ("B &gt; A = C &gt; D", "Overall quality 6", "Like **this**.", "Why is the sky blue?"):
        assert said in page
    for kind in ("Compare responses", "Rate one response", "Write the ideal response", "Write a prompt"):
        assert f'<td class="nowrap">{kind}</td>' in page
    assert "None" not in page


def test_the_list_by_kind(judgments: dict[str, Judgment], reviewer: Client) -> None:
    page = reviewer.get("/p/kindness/review/?kind=write_prompt").content.decode()
    assert "Why is the sky blue?" in page
    assert "Overall quality 6" not in page
    assert reviewer.get("/p/kindness/review/?kind=nonsense&show=nonsense").status_code == 200


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("compare", "Ten minutes."),
        ("rate", "Overall quality: <strong>6</strong>"),
        ("demonstrate", "Like <strong>this</strong>."),
        ("write_prompt", "Why is the sky blue?"),
    ],
)
def test_each_kind_is_shown_in_full(kind: str, shown: str, judgments: dict[str, Judgment], reviewer: Client) -> None:
    page = reviewer.get(f"/p/kindness/review/{judgments[kind].pk}/").content.decode()
    assert shown in page
    assert "Not ranked" not in page
    assert "Accept, and on to the next" in page
    assert "Return to the labeler" in page


def test_accepting_goes_on_to_the_next_and_holds_for_the_revision(
    cast: Cast, judgments: dict[str, Judgment], reviewer: Client
) -> None:
    last, before = judgments["write_prompt"], judgments["demonstrate"]
    reply = reviewer.post(f"/p/kindness/review/{last.pk}/", {"accept": "1"})
    assert reply["Location"] == f"/p/kindness/review/{before.pk}/"
    assert JudgmentAcceptance.objects.get().reviewer == cast.reviewer
    assert AuditEvent.objects.filter(verb="judgment.accepted").count() == 1
    reviewer.post(f"/p/kindness/review/{last.pk}/", {"accept": "1"})
    assert JudgmentAcceptance.objects.count() == 1
    assert "accepted" in reviewer.get("/p/kindness/review/?show=accepted").content.decode()
    assert "Why is the sky blue?" not in reviewer.get("/p/kindness/review/?show=open").content.decode()
    # A revision of it wants another look.
    hand_in(last.assignment, PROMPT | {"query": "Why is grass green?"})
    assert "Why is grass green?" in reviewer.get("/p/kindness/review/?show=open").content.decode()


def test_what_waits_with_its_labeler_is_not_accepted(judgments: dict[str, Judgment], reviewer: Client) -> None:
    address = f"/p/kindness/review/{judgments['rate'].pk}/"
    assert reviewer.post(address, {"comment": "Read it again."}).status_code == 302
    assert "waits for its labeler" in reviewer.post(address, {"accept": "1"}).content.decode()


def test_what_may_upset_is_covered_in_review(judgments: dict[str, Judgment], reviewer: Client) -> None:
    Prompt.objects.update(sensitive=True)
    page = reviewer.get("/p/kindness/review/").content.decode()
    assert "Like **this**." not in page
    assert "Covered: this text may upset." in page
    page = reviewer.get(f"/p/kindness/review/{judgments['demonstrate'].pk}/").content.decode()
    assert page.index('class="veil"') < page.index("Like <strong>this</strong>")


@pytest.mark.parametrize("who", ["labeler", "researcher"])
def test_nobody_else_accepts(who: str, judgments: dict[str, Judgment], cast: Cast) -> None:
    client = Client()
    user: User = getattr(cast, who)
    client.force_login(user, backend="annotate.people.backends.PasswordBackend")
    assert client.post(f"/p/kindness/review/{judgments['rate'].pk}/", {"accept": "1"}).status_code == 403
    assert not JudgmentAcceptance.objects.exists()
