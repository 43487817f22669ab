"""The addresses of people's side."""

from django.urls import path

from .views import account, exam, exports, home, keys, overview, people, preferences, projects, prompts, review, tasks
from .views.work import chat, deeds, mine, preview
from .views.work import tasks as work

app_name = "annotate"
urlpatterns = [
    path("", home.home, name="home"),
    path("preferences", preferences.preferences, name="preferences"),
    path("i18n/<slug:language>.<slug:version>.js", preferences.catalogue, name="catalogue"),
    path("account/", account.account, name="account"),
    path("account/keys/", keys.choose, name="keys"),
    path("p/new/", projects.new, name="new_project"),
    path("p/<slug:slug>/", overview.overview, name="overview"),
    path("p/<slug:slug>/work/", work.work, name="work"),
    path("p/<slug:slug>/work/ahead", work.ahead, name="ahead"),
    path("p/<slug:slug>/work/<int:assignment_id>/", work.task, name="task"),
    path("p/<slug:slug>/work/<int:assignment_id>/submit", deeds.submit, name="submit"),
    path("p/<slug:slug>/work/<int:assignment_id>/undo", deeds.undo, name="undo"),
    path("p/<slug:slug>/work/<int:assignment_id>/skip", deeds.skip, name="skip"),
    path("p/<slug:slug>/work/<int:assignment_id>/report", deeds.report, name="report"),
    path("p/<slug:slug>/work/<int:assignment_id>/draft", deeds.draft, name="draft"),
    path("p/<slug:slug>/work/<int:assignment_id>/chat", chat.chat, name="chat"),
    path("p/<slug:slug>/work/<int:assignment_id>/answers", chat.offers, name="answers"),
    path("p/<slug:slug>/work/preview", preview.preview, name="preview"),
    path("p/<slug:slug>/exam/", exam.exam, name="exam"),
    path("p/<slug:slug>/exam/start", exam.start, name="exam_start"),
    path("p/<slug:slug>/exam/<int:answer_id>/submit", exam.answer, name="exam_answer"),
    path("p/<slug:slug>/exam/<int:answer_id>/draft", exam.draft, name="exam_draft"),
    path("p/<slug:slug>/exam/settings/", exam.settings, name="exam_settings"),
    path("p/<slug:slug>/exam/items/<int:task_id>", exam.item, name="exam_item"),
    path("p/<slug:slug>/exam/people/<int:user_id>", exam.candidate, name="exam_candidate"),
    path("p/<slug:slug>/tasks/", tasks.tasks, name="tasks"),
    path("p/<slug:slug>/tasks/kinds", tasks.kinds, name="task_kinds"),
    path("p/<slug:slug>/tasks/withdraw", tasks.withdraw, name="withdraw_tasks"),
    path("p/<slug:slug>/mine/", mine.mine, name="mine"),
    path("p/<slug:slug>/review/", review.judgments, name="review"),
    path("p/<slug:slug>/review/<int:judgment_id>/", review.judgment, name="review_judgment"),
    path("p/<slug:slug>/review/reports/<int:report_id>/resolve", review.resolve, name="resolve_report"),
    path("p/<slug:slug>/guidelines/", projects.guidelines, name="guidelines"),
    path("p/<slug:slug>/settings/", projects.settings, name="settings"),
    path("p/<slug:slug>/people/", people.people, name="people"),
    path("p/<slug:slug>/people/<int:user_id>/password", people.reset_password, name="reset_password"),
    path("p/<slug:slug>/people/<int:user_id>/remove", people.remove, name="remove_role"),
    path("p/<slug:slug>/prompts/", prompts.prompts, name="prompts"),
    path("p/<slug:slug>/prompts/<int:prompt_id>/mark", prompts.mark, name="mark_prompt"),
    path("p/<slug:slug>/prompts/import", prompts.import_file, name="import"),
    path("p/<slug:slug>/exports/", exports.exports, name="exports"),
    path("p/<slug:slug>/exports/<int:snapshot_id>/<path:name>", exports.download, name="download"),
]
