"""Signals of this app, sent after the commit. Other apps connect to them in `ready()`; this one never imports those."""

from django.dispatch import Signal

# snapshot_id: a snapshot waits to be built.
snapshot_requested = Signal()

# upload_id: a kept file waits to be imported.
upload_kept = Signal()

# push_id: a snapshot waits to be pushed to a Hub.
push_requested = Signal()

# change_id: a change of the overlap waits to be carried into the tasks.
overlap_changed = Signal()

# change_id: a change of tasks waits to be carried into them.
tasks_changed = Signal()

# request_ids: primary keys of the ResponseRequest rows to fulfil.
responses_requested = Signal()

# number: tasks were given to labelers; judgments were submitted; tasks were taken back because their lease ran out.
tasks_claimed = Signal()
judgments_submitted = Signal()
leases_expired = Signal()

# deletion_id: the data of a person wait to be deleted (annotate.people.deletion).
person_deletion_planned = Signal()

# name: what happened in the gateway: requests, failures, kept, feedback.
gateway_event = Signal()

# name, change_id: a change of many judgments or tasks waits to be carried out (annotate.quality.review.batch_changes).
batch_change_planned = Signal()
