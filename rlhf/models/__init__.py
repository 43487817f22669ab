"""The records of training, one module a subject. Import them from here."""

from rlhf.models.acquisition_score import AcquisitionScore
from rlhf.models.ai_judge import AIJudge, JudgePrompt
from rlhf.models.gateway_reply import GatewayReply
from rlhf.models.human_evaluation import EvaluatedVersion, EvaluationItem, HumanEvaluation, Leaderboard
from rlhf.models.iteration import Iteration, LoopSettings
from rlhf.models.model_version import ModelVersion, Promotion
from rlhf.models.notification import Delivery, NotificationTarget
from rlhf.models.playground import PlaygroundChat, PlaygroundColumn, PlaygroundReply, PlaygroundTurn
from rlhf.models.rolling_update import RollingUpdate
from rlhf.models.training_run import RunInput, RunMetric, Stage, TrainingRun
from rlhf.models.worker_heartbeat import WorkerHeartbeat

__all__ = [
    "AIJudge",
    "AcquisitionScore",
    "Delivery",
    "EvaluatedVersion",
    "EvaluationItem",
    "GatewayReply",
    "HumanEvaluation",
    "Iteration",
    "JudgePrompt",
    "Leaderboard",
    "LoopSettings",
    "ModelVersion",
    "NotificationTarget",
    "PlaygroundChat",
    "PlaygroundColumn",
    "PlaygroundReply",
    "PlaygroundTurn",
    "Promotion",
    "RollingUpdate",
    "RunInput",
    "RunMetric",
    "Stage",
    "TrainingRun",
    "WorkerHeartbeat",
]
