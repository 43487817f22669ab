"""Give many open tasks a priority, a labeler they are reserved for, a skill, or another number of judgments."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotate.errors import Refused
from annotate.labeling import queue, task_kinds
from annotate.management.arguments import BAD_INPUT, add_project, project_named, refuse_repeated_flags
from annotate.models import Project, Prompt, Skill, User


class Command(BaseCommand):
    help = (
        "Change priority, reservation, skill or judgments wanted of a project's open tasks, in batches beside people."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        refuse_repeated_flags(parser)
        add_project(parser)
        chosen = parser.add_argument_group("which open tasks (all of them without any of these)")
        chosen.add_argument("--kind", choices=task_kinds.names())
        chosen.add_argument("--language", metavar="TAG", help="Of the prompt, as it is stored.")
        chosen.add_argument("--use-case", choices=Prompt.UseCase.values)
        chosen.add_argument("--author", metavar="NAME", help="A model or person who wrote one of the responses.")
        chosen.add_argument("--with-skill", metavar="NAME", help="Those that need this skill now.")
        chosen.add_argument("--reserved-for", metavar="USERNAME", help="Those that are reserved for this person now.")
        given = parser.add_argument_group("what they get")
        given.add_argument("--priority", type=int, metavar="N", help="Higher comes first.")
        given.add_argument("--reserve", metavar="USERNAME", help="Reserve them for this labeler.")
        given.add_argument("--release", action="store_true", help="Reserve them for nobody.")
        given.add_argument("--skill", metavar="NAME", help="Let them need this skill, which some member has.")
        given.add_argument("--no-skill", action="store_true", help="Let them need none.")
        given.add_argument("--judgments", type=int, metavar="N", help="Let each want so many judgments (overlap).")

    def handle(self, *args: Any, **options: Any) -> None:
        project = project_named(options["project"])
        if (options["reserve"] and options["release"]) or (options["skill"] and options["no_skill"]):
            raise CommandError("Say --reserve or --release, and --skill or --no-skill.", returncode=BAD_INPUT)
        selection = {
            "kind": options["kind"],
            "prompt__language": options["language"],
            "prompt__use_case": options["use_case"],
            "responses__author__name": options["author"],
            "skill": _skill(project, options["with_skill"]),
            "reserved_for": _user(options["reserved_for"]),
        }
        values: dict[str, Any] = {
            "priority": options["priority"],
            "reserved_for": _user(options["reserve"]),
            "skill": _skill(project, options["skill"]),
            "judgments_wanted": options["judgments"],
        }
        values = {name: value for name, value in values.items() if value is not None}
        values |= {"reserved_for": None} if options["release"] else {}
        values |= {"skill": None} if options["no_skill"] else {}
        chosen = {name: value for name, value in selection.items() if value is not None}
        try:
            change = queue.plan_task_change(project=project, by=None, selection=chosen, values=values)
        except Refused as reason:
            raise CommandError(str(reason), returncode=BAD_INPUT) from None
        queue.run_task_change(change.pk)
        change.refresh_from_db()
        if change.state == change.State.DONE:
            self.stdout.write(f"{change.tasks_changed} tasks changed")
        else:
            self.stdout.write(f"An earlier change is under way; a worker carries out change {change.pk} after it.")


def _user(username: str | None) -> int | None:
    if username is None:
        return None
    found = User.objects.filter(username=username).values_list("pk", flat=True).first()
    if found is None:
        raise CommandError(f"There is no account {username!r}.", returncode=BAD_INPUT)
    return found


def _skill(project: Project, name: str | None) -> int | None:
    if name is None:
        return None
    found = Skill.objects.filter(project=project, name__iexact=name).values_list("pk", flat=True).first()
    if found is None:
        known = ", ".join(Skill.objects.filter(project=project).values_list("name", flat=True)) or "none yet"
        raise CommandError(f"There is no skill {name!r}. Skills: {known}.", returncode=BAD_INPUT)
    return found
