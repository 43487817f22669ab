"""The API of labeling, below /api/v1 (docs/api.md). Runs and models are in rlhf/api; config/api puts both together.

bearer.py          requests without a token, and the decorator of routes within a project
json_bodies.py     bodies: JSON that can be stored
cursor_pages.py    long lists, page by page
idempotency.py     requests that may be sent twice
project_routes.py  projects, their figures and people
data_routes.py     prompts, responses, demonstrations, tasks, judgments
transfer_routes.py imports and snapshots
work_routes.py     a labeler's tasks
review_routes.py   adjudication, by reviewers
exam_routes.py     the qualification exam, by labelers
shown_tasks.py     what these three show of a task, and what is entered in it
"""
