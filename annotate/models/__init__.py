"""The records of labeling, one module a subject. Import them from here."""

from annotate.models.audit import AuditEvent
from annotate.models.chat import ChatTurn
from annotate.models.consensus import AggregationEstimate, LabelerReliability, TaskConsensus
from annotate.models.data_import import DataImport, PromptChange
from annotate.models.exam import ExamAnswer, ExamAttempt
from annotate.models.invitation import Invitation
from annotate.models.judgment import Adjudication, Assignment, Demonstration, Judgment, JudgmentRevision
from annotate.models.listing import ProjectFigures, PromptToIndex
from annotate.models.measures import MeasureChange, MeasuresState, MeasureSums, ResponseScore, TaskMeasures
from annotate.models.project import Guidelines, Membership, Project, Rubric, Skill
from annotate.models.prompt import Prompt
from annotate.models.quality_check import QualityAlert, QualityCheck
from annotate.models.response import Author, Response, ResponseRequest
from annotate.models.review import JudgmentAcceptance, JudgmentExclusion, JudgmentReturn, Report, TaskReopening
from annotate.models.snapshot import Snapshot
from annotate.models.task import OverlapChange, QueueCursor, Task, TaskChange, TaskResponse
from annotate.models.upload import Upload
from annotate.models.user import User

__all__ = [
    "Adjudication",
    "AggregationEstimate",
    "Assignment",
    "AuditEvent",
    "Author",
    "ChatTurn",
    "DataImport",
    "Demonstration",
    "ExamAnswer",
    "ExamAttempt",
    "Guidelines",
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
    "OverlapChange",
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
