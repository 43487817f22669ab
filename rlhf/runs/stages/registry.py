"""The registry of stages. A new stage is a command of models_core, a value of `Stage`, a module here and an entry."""

from rlhf.runs.stages import (
    benchmark,
    distil,
    dpo,
    evaluate,
    gguf_export,
    hub_push,
    judge,
    measure,
    model_import,
    ppo,
    pretrain,
    reward,
    sample,
    score,
    sft,
)
from rlhf.runs.stages.spec import StageSpec

STAGE_SPECS: dict[str, StageSpec] = {
    spec.stage: spec
    for spec in (
        pretrain.SPEC,
        sft.SPEC,
        reward.SPEC,
        ppo.SPEC,
        dpo.SPEC,
        distil.SPEC,
        evaluate.SPEC,
        sample.SPEC,
        score.SPEC,
        judge.SPEC,
        model_import.SPEC,
        gguf_export.SPEC,
        hub_push.SPEC,
        measure.SPEC,
        benchmark.SPEC,
    )
}

LAUNCHABLE = {stage: spec for stage, spec in STAGE_SPECS.items() if spec.title}
"""Stages that a page and `manage.py train` start, in the order of the page's buttons."""
