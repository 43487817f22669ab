"""Celery tasks: an id in, one call. Each may run twice or late; the rows decide what there is to do."""

from celery import shared_task
from django.utils import timezone

from annotate.data import import_stages, snapshots, uploads
from annotate.data.hub import dataset_pushes
from annotate.data.text_search import search_index
from annotate.labeling import queue
from annotate.labeling.checks import scores
from annotate.models import ResponseRequest
from annotate.people.audit import chain
from annotate.people.deletion import deletions
from annotate.quality import consensus, measures, project_figures, review
from rlhf.gateway import live_choices
from rlhf.human_evaluation import evaluations
from rlhf.loop import active_learning, loop, sampling
from rlhf.loop.rolling import updates
from rlhf.model_registry import removal
from rlhf.models import Iteration, Stage, TrainingRun
from rlhf.notifications import deliveries
from rlhf.playground import chats
from rlhf.runs import runs
from rlhf.runs.execution import supervisor


@shared_task(name="rlhf.execute_run")
def execute_run(run_id: int) -> None:
    """Claim a run and execute it."""
    supervisor.execute(run_id)


@shared_task(name="rlhf.after_run")
def after_run(run_id: int) -> None:
    """Continue the round or the queue that waited for a run."""
    run = TrainingRun.objects.get(pk=run_id)
    if run.status in (TrainingRun.Status.FAILED, TrainingRun.Status.CANCELLED):
        sampling.fail_requests(run)
    if run.stage == Stage.SAMPLE:
        active_learning.start_if_due(run.project)
    if run.iteration_id is not None:
        loop.advance(run.iteration_id)
    if run.options.get("rolling"):
        updates.conclude(run.rolling_update)
    if "evaluation" in run.options:
        evaluations.advance(run.options["evaluation"])


@shared_task(name="rlhf.build_snapshot")
def build_snapshot(snapshot_id: int) -> None:
    """Make the files of a requested snapshot, and go on with the rounds that wait for it."""
    snapshots.build(snapshot_id, wait=False)
    for iteration_id in Iteration.objects.filter(snapshot_id=snapshot_id).values_list("pk", flat=True):
        loop.advance(iteration_id)


@shared_task(name="rlhf.import_upload")
def import_upload(upload_id: int) -> None:
    """Import a file that was uploaded."""
    uploads.run(upload_id)


@shared_task(name="rlhf.push_snapshot")
def push_snapshot(push_id: int) -> None:
    """Push a snapshot to a Hub."""
    dataset_pushes.run(push_id)


@shared_task(name="rlhf.change_overlap")
def change_overlap(change_id: int) -> None:
    """Carry a change of the overlap into the tasks that there are."""
    queue.run_overlap_change(change_id)


@shared_task(name="rlhf.change_tasks")
def change_tasks(change_id: int) -> None:
    """Carry a new priority, reservation or skill into the tasks that it is for."""
    queue.run_task_change(change_id)


@shared_task(name="rlhf.apply_batch_change")
def apply_batch_change(name: str, change_id: int) -> None:
    """Leave out judgments or count them again, or give tasks out again, as it was planned."""
    review.JOBS[name].run(change_id)


@shared_task(name="rlhf.delete_person")
def delete_person(deletion_id: int) -> None:
    """Delete the data of a person, as it was planned."""
    deletions.run(deletion_id)


@shared_task(name="rlhf.remove_model_files")
def remove_model_files(version_id: int) -> None:
    """Remove the files of a deleted model version."""
    removal.remove_files(version_id)


@shared_task(name="rlhf.fulfil_requests")
def fulfil_requests(request_ids: list[int]) -> None:
    """Queue the runs that fulfil requests for responses."""
    sampling.fulfil(request_ids)


@shared_task(name="rlhf.reap_runs")
def reap_runs() -> None:
    """Every few seconds: reap runs whose worker is dead, and notify workers again of runs that wait too long."""
    chats.stop_abandoned()
    live_choices.remove_abandoned()
    runs.reap()
    runs.resend()


@shared_task(name="rlhf.send_notifications")
def send_notifications() -> None:
    """Every 15 seconds: queue e-mails and webhooks for what has happened, and make the attempts that are due."""
    deliveries.collect()
    deliveries.send_due()


@shared_task(name="rlhf.advance_loops")
def advance_loops() -> None:
    """Every half minute: advance rounds whose message was lost, start what is due: rounds, rolling updates of reward
    models, reorderings."""
    for iteration_id in Iteration.objects.filter(state=Iteration.State.ACTIVE).values_list("pk", flat=True):
        loop.advance(iteration_id)
    loop.start_due()
    updates.start_due()
    active_learning.start_due()


@shared_task(name="rlhf.advance_evaluation")
def advance_evaluation(evaluation_id: int) -> None:
    """Begin with the judging of an evaluation that has nothing to sample."""
    evaluations.advance(evaluation_id)


@shared_task(name="rlhf.advance_evaluations")
def advance_evaluations() -> None:
    """Every 20 seconds: figures and stopping rule of evaluations where something was judged since."""
    evaluations.advance_due()


@shared_task(name="rlhf.reap_queue")
def reap_queue() -> None:
    """Every minute: take back tasks and imports whose lease ran out, and do what no message came for."""
    queue.release_expired()
    import_stages.reap()
    sampling.fulfil(ResponseRequest.objects.filter(state=ResponseRequest.State.OPEN).values_list("pk", flat=True))
    for snapshot_id in list(snapshots.abandoned(now=timezone.now()).values_list("pk", flat=True)):
        build_snapshot(snapshot_id)
    for version_id in removal.unfinished():
        removal.remove_files(version_id)
    uploads.remove_forgotten(now=timezone.now())
    for upload_id in uploads.abandoned(now=timezone.now()).values_list("pk", flat=True):
        runs.send("rlhf.import_upload", upload_id)
    for push_id in dataset_pushes.abandoned(now=timezone.now()).values_list("pk", flat=True):
        runs.send("rlhf.push_snapshot", push_id)
    for change_id in queue.abandoned_overlap_changes(now=timezone.now()).values_list("pk", flat=True):
        runs.send("rlhf.change_overlap", change_id)
    for change_id in queue.abandoned_task_changes(now=timezone.now()).values_list("pk", flat=True):
        runs.send("rlhf.change_tasks", change_id)
    for name, job in review.JOBS.items():
        for change_id in job.abandoned(now=timezone.now()).values_list("pk", flat=True):
            runs.send("rlhf.apply_batch_change", name, change_id)
    for deletion_id in deletions.abandoned(now=timezone.now()).values_list("pk", flat=True):
        runs.send("rlhf.delete_person", deletion_id)


@shared_task(name="rlhf.refresh_consensus")
def refresh_consensus() -> None:
    """Every minute: the consensus of the tasks that were judged since, and the reliabilities where they are due."""
    consensus.refresh_due()


@shared_task(name="rlhf.index_texts")
def index_texts() -> None:
    """Every 20 seconds: the words of the prompts and responses that were written since, for the search."""
    search_index.index_due()


@shared_task(name="rlhf.count_projects")
def count_projects() -> None:
    """Every minute: the counts of large projects in which something changed."""
    project_figures.refresh_due()


@shared_task(name="rlhf.refresh_checks")
def refresh_checks() -> None:
    """Every ten seconds: score hidden checks, act on thresholds, and adapt the overlap of what was judged since."""
    scores.refresh_due()


@shared_task(name="rlhf.fold_measures")
def fold_measures() -> None:
    """Every few seconds: the sums of the measures of quality, where something was judged since."""
    measures.fold_due()


@shared_task(name="rlhf.link_audit_events")
def link_audit_events() -> None:
    """Every minute: link the events of the audit log that were written since into its hash chain."""
    chain.link_new()
