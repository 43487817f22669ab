"""Every URL of the site, by package."""

from allauth.account import views as account
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

from config.api import problems, reference
from config.api.assembly import api
from config.monitoring import metrics_page
from config.web import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", metrics_page.metrics, name="metrics"),
    # Of allauth's pages only these: there is no sign-up, and a manager gives a new password, not an e-mail.
    path("accounts/login/", account.login, name="account_login"),
    path("accounts/logout/", account.logout, name="account_logout"),
    path("accounts/password/change/", account.password_change, name="account_change_password"),
    path("admin/", admin.site.urls),
    path("api/v1/openapi.json", reference.openapi, name="openapi"),
    path("api/v1/docs", reference.docs, name="api_reference"),
    path("api/v1/", api.urls),
    path("api/<path:rest>", problems.nothing_there, name="no_api"),
    path("", include("rlhf.urls")),
    path("", include("annotate.urls")),
]
handler500 = "config.web.unavailable.server_error"
