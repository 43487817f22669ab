"""The addresses of people's side."""

from django.urls import path

from .views import account, exports, home, overview, people, preferences, projects, prompts, work

app_name = "annotate"
urlpatterns = [
    path("", home.home, name="home"),
    path("preferences", preferences.preferences, name="preferences"),
    path("i18n/<slug:language>.<slug:version>.js", preferences.catalogue, name="catalogue"),
    path("account/", account.account, name="account"),
    path("p/new/", projects.new, name="new_project"),
    path("p/<slug:slug>/", overview.overview, name="overview"),
    path("p/<slug:slug>/work/", work.work, name="work"),
    path("p/<slug:slug>/work/<int:assignment_id>/submit", work.submit, name="submit"),
    path("p/<slug:slug>/work/<int:assignment_id>/skip", work.skip, name="skip"),
    path("p/<slug:slug>/work/<int:assignment_id>/draft", work.draft, name="draft"),
    path("p/<slug:slug>/guidelines/", projects.guidelines, name="guidelines"),
    path("p/<slug:slug>/settings/", projects.settings, name="settings"),
    path("p/<slug:slug>/people/", people.people, name="people"),
    path("p/<slug:slug>/people/<int:user_id>/password", people.reset_password, name="reset_password"),
    path("p/<slug:slug>/people/<int:user_id>/remove", people.remove, name="remove_role"),
    path("p/<slug:slug>/prompts/", prompts.prompts, name="prompts"),
    path("p/<slug:slug>/prompts/import", prompts.import_file, name="import"),
    path("p/<slug:slug>/exports/", exports.exports, name="exports"),
    path("p/<slug:slug>/exports/<int:snapshot_id>/<path:name>", exports.download, name="download"),
]
