"""Every URL of the site, by package."""

from allauth.account import views as account
from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from django.urls.resolvers import RoutePattern
from django.views.generic import RedirectView

from config.api import problems
from config.monitoring import metrics_page
from config.security import admin_records
from config.security.open_sessions import sessions_page
from config.security.second_factor import pages as second_factor
from config.security.second_factor import security_keys
from config.web import health


class OnDemand(URLResolver):
    """Addresses whose module is imported at the first request or link of one. It has a namespace, so that their names
    are looked up here alone; a resolver would collect them with all others, at the first link of any page."""

    def _populate(self) -> None:
        """Django looks the names of a namespace up by a resolver that it makes of `url_patterns`."""


admin_records.hide()
urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.alive, name="healthz"),
    path("readyz", health.ready, name="readyz"),
    path("metrics", metrics_page.metrics, name="metrics"),
    # Of allauth's pages only these: there is no sign-up, and a manager gives a new password, not an e-mail.
    path("accounts/login/", account.login, name="account_login"),
    path("accounts/logout/", account.logout, name="account_logout"),
    path("accounts/password/change/", account.password_change, name="account_change_password"),
    path("accounts/reauthenticate/", account.reauthenticate, name="account_reauthenticate"),
    path("accounts/sessions/", sessions_page.sessions, name="sessions"),
    path("accounts/sessions/<int:number>/end/", sessions_page.end_session, name="end_session"),
    path("accounts/sessions/end-others/", sessions_page.end_other_sessions, name="end_other_sessions"),
    # Two-step sign-in, under the names by which django-allauth knows its pages.
    path("accounts/code/", second_factor.authenticate, name="mfa_authenticate"),
    path("accounts/2fa/", second_factor.overview, name="mfa_index"),
    path("accounts/2fa/set-up/", second_factor.set_up, name="mfa_activate_totp"),
    path("accounts/2fa/off/", second_factor.turn_off, name="mfa_deactivate_totp"),
    path("accounts/2fa/codes/", second_factor.recovery_codes, name="mfa_view_recovery_codes"),
    path("accounts/2fa/codes/new/", second_factor.new_recovery_codes, name="mfa_generate_recovery_codes"),
    path("accounts/2fa/keys/add/", security_keys.add, name="mfa_add_webauthn"),
    path("accounts/2fa/keys/<int:number>/remove/", security_keys.remove, name="mfa_remove_webauthn"),
    path("accounts/2fa/reauthenticate/", second_factor.reauthenticate, name="mfa_reauthenticate"),
    path("accounts/2fa/reauthenticate/key/", second_factor.reauthenticate, name="mfa_reauthenticate_webauthn"),
    path("accounts/2fa/reset/<int:user_id>/", second_factor.reset, name="reset_second_factor"),
    # The administration has no sign-in of its own: it would know no second step.
    path("admin/login/", RedirectView.as_view(pattern_name="account_login", query_string=True), name="admin_login"),
    path("admin/", admin.site.urls),
    OnDemand(RoutePattern("api/v1/"), "config.api.addresses", app_name="api", namespace="api"),
    path("v1/", include("rlhf.gateway.addresses")),
    path("v1/<path:rest>", problems.nothing_there, name="no_gateway"),
    path("v1/", problems.nothing_there, {"rest": ""}, name="gateway_alone"),
    path("api/<path:rest>", problems.nothing_there, name="no_api"),
    # First what is asked for most often: no address belongs to both, and Django looks from the top.
    path("", include("annotate.urls")),
    path("", include("rlhf.urls")),
]
if settings.HONE_OIDC_ISSUER:
    from config.security.single_sign_on import departure

    urlpatterns += [
        path("accounts/sso/<slug:provider_id>/", departure.login, name="openid_connect_login"),
        path("accounts/sso/<slug:provider_id>/callback/", departure.callback, name="openid_connect_callback"),
    ]
handler500 = "config.web.unavailable.server_error"
