"""What people's side tells others, who connect to these signals: it never imports them. Sent after the commit."""

from django.dispatch import Signal

# snapshot_id: a snapshot waits to be built.
snapshot_requested = Signal()

# request_ids: answer requests wait to be fulfilled.
answers_requested = Signal()

# project_id, judgment_id: a judgment was given or revised.
judgment_submitted = Signal()
