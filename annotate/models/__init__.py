"""The records of labeling, in the rooms of their subjects. Import them from here."""

from annotate.models.data.data_import import DataImport, PromptChange
from annotate.models.data.dataset_push import DatasetPush
from annotate.models.data.gateway import GatewayCompletion, GatewaySettings
from annotate.models.data.listing import ProjectFigures, PromptToIndex
from annotate.models.data.prompt import Prompt
from annotate.models.data.response import Author, Response, ResponseRequest
from annotate.models.data.snapshot import Snapshot
from annotate.models.data.upload import Upload
from annotate.models.labeling.ai_labeler import AILabeler
from annotate.models.labeling.chat import ChatTurn
from annotate.models.labeling.exam import ExamAnswer, ExamAttempt
from annotate.models.labeling.judgment import Adjudication, Assignment, Demonstration, Judgment, JudgmentRevision
from annotate.models.labeling.task import OverlapChange, QueueCursor, Task, TaskChange, TaskResponse
from annotate.models.people.api_token import ApiToken, IdempotentRequest
from annotate.models.people.audit import AuditChainLink, AuditEvent
from annotate.models.people.invitation import Invitation
from annotate.models.people.outbox_event import OutboxEvent
from annotate.models.people.person_deletion import PersonDeletion
from annotate.models.people.project import Guidelines, Membership, Project, Rubric, Skill
from annotate.models.people.user import User
from annotate.models.quality.consensus import AggregationEstimate, LabelerReliability, TaskConsensus
from annotate.models.quality.measures import MeasureChange, MeasuresState, MeasureSums, ResponseScore, TaskMeasures
from annotate.models.quality.quality_check import QualityAlert, QualityCheck
from annotate.models.quality.review import JudgmentAcceptance, JudgmentExclusion, JudgmentReturn, Report, TaskReopening

__all__ = [
    "AILabeler",
    "Adjudication",
    "AggregationEstimate",
    "ApiToken",
    "Assignment",
    "AuditChainLink",
    "AuditEvent",
    "Author",
    "ChatTurn",
    "DataImport",
    "DatasetPush",
    "Demonstration",
    "ExamAnswer",
    "ExamAttempt",
    "GatewayCompletion",
    "GatewaySettings",
    "Guidelines",
    "IdempotentRequest",
    "Invitation",
    "Judgment",
    "JudgmentAcceptance",
    "JudgmentExclusion",
    "JudgmentReturn",
    "JudgmentRevision",
    "LabelerReliability",
    "MeasureChange",
    "MeasureSums",
    "MeasuresState",
    "Membership",
    "OutboxEvent",
    "OverlapChange",
    "PersonDeletion",
    "Project",
    "ProjectFigures",
    "Prompt",
    "PromptChange",
    "PromptToIndex",
    "QualityAlert",
    "QualityCheck",
    "QueueCursor",
    "Report",
    "Response",
    "ResponseRequest",
    "ResponseScore",
    "Rubric",
    "Skill",
    "Snapshot",
    "Task",
    "TaskChange",
    "TaskConsensus",
    "TaskMeasures",
    "TaskReopening",
    "TaskResponse",
    "Upload",
    "User",
]
