"""The records of people's side, one module a subject. Import them from here."""

from .audit import AuditEvent
from .chat import ChatTurn
from .data_import import DataImport
from .exam import ExamAnswer, ExamAttempt
from .invitation import Invitation
from .judgment import Assignment, Demonstration, Judgment, JudgmentRevision
from .project import Guidelines, Membership, Project, Rubric
from .prompt import Prompt
from .response import AnswerRequest, Author, Response
from .review import JudgmentAcceptance, JudgmentReturn, Report
from .snapshot import Snapshot
from .task import QueueCursor, Task, TaskResponse
from .user import User

__all__ = [
    "AnswerRequest",
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
    "JudgmentReturn",
    "JudgmentRevision",
    "Membership",
    "Project",
    "Prompt",
    "QueueCursor",
    "Report",
    "Response",
    "Rubric",
    "Snapshot",
    "Task",
    "TaskResponse",
    "User",
]
