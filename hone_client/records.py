"""What replies hold, as dictionaries whose keys are known. The OpenAPI document says more of each."""

from typing import Any, Literal, TypedDict

Listed = Literal[
    "prompts",
    "responses",
    "demonstrations",
    "tasks",
    "judgments",
    "adjudications",
    "adjudications/waiting",
    "snapshots",
    "runs",
    "models",
    "people",
]
"""Lists of a project."""


class ProjectRecord(TypedDict):
    slug: str
    name: str
    language: str
    archived: bool
    task_kinds: list[str]
    capabilities: list[str]


class Report(TypedDict):
    read: int
    created: dict[str, int]
    duplicates: int
    left_out: dict[str, int]
    not_kept: list[dict[str, Any]]
    rejected: str
    rejected_rows: int
    errors: list[str]


class Import(TypedDict):
    id: int | None
    state: str
    progress: float
    summary: str
    report: Report | None


class SnapshotFile(TypedDict):
    name: str
    rows: int | None
    bytes: int
    sha256: str


class Snapshot(TypedDict):
    id: int
    kind: str
    format: str
    state: str
    progress: float
    rows: int
    sha256: str
    files: list[SnapshotFile]
    error: str


class ShownResponse(TypedDict):
    key: str
    text: str
    names_itself: bool


class Task(TypedDict):
    """A task that a labeler holds."""

    id: int
    kind: str
    prompt: list[dict[str, str]]
    sensitive: bool
    responses: list[ShownResponse]
    instructions: dict[str, Any]
    rubric: dict[str, Any] | None
    client_id: str
    lease_until: str
    draft: dict[str, list[str]]
    draft_version: int
    page: str
    chat: "Chat | None"


class NextTask(TypedDict):
    task: Task | None
    reason: str


class Submitted(TypedDict):
    repeated: bool
    revised: bool
    surplus: bool
    next: NextTask | None


ChatAction = Literal["say", "write", "choose", "ask", "take_back"]


class Chat(TypedDict):
    """A chat as it goes on; `after` is what the next action names."""

    turns: list[dict[str, Any]]
    after: int
    awaits_response: bool
    candidates: list[ShownResponse]
    request: int | None
    waiting: bool
    wanted: int
    available: bool
    message: str
    progress: float | None
    waited_seconds: int | None
    usual_seconds: int | None


class NextAdjudication(TypedDict):
    task: Task | None


class Decided(TypedDict):
    repeated: bool
    revised: bool
    surplus: bool
    next: NextAdjudication | None


class Orders(TypedDict):
    """What the labelers of a task say, by the keys of the reviewer's task."""

    agreement: float | None
    orders: list[dict[str, Any]]


class ExamItem(TypedDict):
    id: int
    number: int
    count: int
    prompt: list[dict[str, str]]
    sensitive: bool
    responses: list[ShownResponse]
    draft: dict[str, list[str]]
    draft_version: int


class Exam(TypedDict):
    """`item` is the one to answer, `last` the latest finished attempt."""

    asked: bool
    qualified: bool
    threshold: float | None
    attempts_left: int | None
    count: int
    item: ExamItem | None
    last: dict[str, Any] | None


class Run(TypedDict):
    id: int
    stage: str
    status: str
    progress: float
    config: dict[str, Any]
    seed: int
    snapshot: int | None
    produced: int | None
    result: dict[str, Any]
    failure: str
