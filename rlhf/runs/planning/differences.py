"""The recipe of a run (settings, models, data) and the differences between two of one stage."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from annotate.models import Snapshot
from models_core.contract.errors import BadInput
from models_core.contract.settings import parse, settings_of
from rlhf.models import RunInput, TrainingRun
from rlhf.reports import labels

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run is made from. inputs: {role: labels of the models}; options: what is no setting, such as a corpus."""

    stage: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    snapshot: Snapshot | None
    options: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Difference:
    label: "StrOrPromise"
    before: Any
    after: Any


def resolved(stage: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a stage, with the learning rate that the method calls for. As given where an old one is gone."""
    try:
        return asdict(parse(settings_of(stage), config))
    except BadInput:
        return dict(config)


def recipe_of(run: TrainingRun) -> Recipe:
    inputs: dict[str, str] = {}
    for item in run.run_inputs.all():
        inputs[item.role] = ", ".join(filter(None, [inputs.get(item.role, ""), item.version.label]))
    return Recipe(
        stage=run.stage,
        settings=resolved(run.stage, run.config),
        inputs=inputs,
        snapshot=run.snapshot,
        options=run.options,
    )


def from_defaults(stage: str, config: Mapping[str, Any]) -> list[Difference]:
    """The settings that differ from the stage's defaults, those that a method scales included."""
    defaults = resolved(stage, {})
    return [
        Difference(label=labels.of_name(name), before=shown(defaults.get(name)), after=shown(value))
        for name, value in resolved(stage, config).items()
        if defaults.get(name) != value
    ]


def between(before: Recipe, after: Recipe) -> list[Difference]:
    """Models first, then data, then settings and options by name."""
    return list(_differences(before, after))


def _differences(before: Recipe, after: Recipe) -> Iterator[Difference]:
    for role in RunInput.Role:
        old, new = before.inputs.get(role, ""), after.inputs.get(role, "")
        if old != new:
            yield Difference(label=role.label, before=shown(old), after=shown(new))
    if before.snapshot != after.snapshot:
        yield Difference(label=_("Data"), before=_snapshot(before.snapshot), after=_snapshot(after.snapshot))
    old_values, new_values = {**before.settings, **before.options}, {**after.settings, **after.options}
    for name in {**old_values, **new_values}:
        if old_values.get(name) != new_values.get(name):
            yield Difference(
                label=labels.of_name(name), before=shown(old_values.get(name)), after=shown(new_values.get(name))
            )


def _snapshot(snapshot: Snapshot | None) -> str:
    return str(snapshot) if snapshot is not None else _("A new snapshot of the current data")


def shown(value: Any) -> str:
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return f"{value:g}" if isinstance(value, float) else str(value)
