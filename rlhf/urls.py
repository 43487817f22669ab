"""Addresses of training, models and the loop; all below a project but for the notice on the base model."""

from django.urls import include, path

from rlhf.views import (
    active_learning,
    checkpoints,
    loop,
    model_pages,
    models,
    new_run,
    reports,
    run_curves,
    runs,
    status,
    workers_page,
)
from rlhf.views.comparing import evaluations, playground

app_name = "rlhf"
project_urls = [
    path("training/", runs.training, name="training"),
    path("training/compare", run_curves.compare, name="compare"),
    path("training/new/<slug:stage>", new_run.new_run, name="new_run"),
    path("training/checkpoints", checkpoints.checkpoints, name="checkpoints"),
    path("runs/<int:run_id>/", runs.run, name="run"),
    path("runs/<int:run_id>/metrics.json", run_curves.metrics, name="metrics"),
    path("runs/<int:run_id>/metrics.csv", run_curves.metrics_file, name="metrics_file"),
    path("runs/<int:run_id>/system.json", run_curves.system, name="system_metrics"),
    path("runs/<int:run_id>/system.csv", run_curves.system_file, name="system_file"),
    path("runs/<int:run_id>/reward-kl.svg", runs.reward_kl_plot, name="reward_kl_plot"),
    path("runs/<int:run_id>/report/", reports.report, name="report"),
    path("runs/<int:run_id>/report.json", reports.report_file, name="report_file"),
    path("runs/<int:run_id>/cancel", runs.cancel, name="cancel_run"),
    path("runs/<int:run_id>/resume", runs.resume, name="resume_run"),
    path("models/", models.models, name="models"),
    path("models/sample", models.sample, name="sample"),
    path("models/<int:version_id>/", model_pages.model, name="model"),
    path("models/<int:version_id>/card.md", model_pages.card, name="model_card"),
    path("models/<int:version_id>/model.zip", model_pages.archive, name="model_archive"),
    path("models/<int:version_id>/SHA256SUMS", model_pages.hashes, name="model_hashes"),
    path("models/<int:version_id>/promote", models.promote, name="promote"),
    path("models/<int:version_id>/roll-back", models.roll_back, name="roll_back"),
    path("playground/", playground.playground, name="playground"),
    path("playground/<int:chat_id>/", playground.chat, name="playground_chat"),
    path("playground/<int:chat_id>/ask", playground.ask, name="playground_ask"),
    path("playground/<int:chat_id>/stop", playground.stop, name="playground_stop"),
    path("playground/<int:chat_id>/prefer", playground.prefer, name="playground_prefer"),
    path("evaluations/", evaluations.evaluations_list, name="evaluations"),
    path("evaluations/new", evaluations.new_evaluation, name="new_evaluation"),
    path("evaluations/<int:evaluation_number>/", evaluations.evaluation, name="evaluation"),
    path("evaluations/<int:evaluation_number>/cancel", evaluations.cancel_evaluation, name="cancel_evaluation"),
    path("evaluations/<int:evaluation_number>/<slug:table>.csv", evaluations.evaluation_table, name="evaluation_table"),
    path("leaderboard/", evaluations.leaderboard, name="leaderboard"),
    path("leaderboard/<slug:table>.csv", evaluations.leaderboard_table, name="leaderboard_table"),
    path("next/", active_learning.order, name="active_learning"),
    path("next/score", active_learning.score, name="score_tasks"),
    path("loop/", loop.loop, name="loop"),
    path("loop/start", loop.start, name="start_loop"),
    path("loop/settings", loop.save_settings, name="loop_settings"),
    path("loop/<int:number>/cancel", loop.cancel, name="cancel_round"),
]
urlpatterns = [
    path("p/<slug:slug>/", include(project_urls)),
    path("workers/", workers_page.workers_page, name="workers"),
    path("status/model/", status.base_model, name="model_status"),
]
