"""The records of training, one module a subject. Import them from here."""

from rlhf.models.acquisition_score import AcquisitionScore
from rlhf.models.iteration import Iteration, LoopSettings
from rlhf.models.model_version import ModelVersion, Promotion
from rlhf.models.training_run import RunInput, RunMetric, Stage, TrainingRun
from rlhf.models.worker_heartbeat import WorkerHeartbeat

__all__ = [
    "AcquisitionScore",
    "Iteration",
    "LoopSettings",
    "ModelVersion",
    "Promotion",
    "RunInput",
    "RunMetric",
    "Stage",
    "TrainingRun",
    "WorkerHeartbeat",
]
