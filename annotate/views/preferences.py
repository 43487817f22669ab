"""Language and look of the pages, also before signing in; and the catalogue of scripts' messages."""

from functools import lru_cache
from hashlib import sha256

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_POST, require_safe
from django.views.i18n import JavaScriptCatalog

from annotate.models import User
from annotate.people.own_paths import is_own_path

THEME_COOKIE = "theme"
COOKIES = {"language": settings.LANGUAGE_COOKIE_NAME, "theme": THEME_COOKIE}
YEAR = 365 * 24 * 3600


@require_POST
def preferences(request: HttpRequest) -> HttpResponse:
    """Keep a language or a theme, in a cookie and for a person's account, and go back to where it was chosen."""
    language, theme = request.POST.get("language"), request.POST.get("theme")
    if language not in (None, *dict(settings.LANGUAGES)) or theme not in (None, *User.Theme.values):
        return HttpResponseBadRequest(_("There is no such language or theme."), content_type="text/plain")
    back = request.POST.get("next", "")
    response = HttpResponseRedirect(back if is_own_path(back) else reverse("annotate:home"))
    chosen = {name: value for name, value in (("language", language), ("theme", theme)) if value is not None}
    remember(response, **chosen)
    if request.user.is_authenticated:
        User.objects.filter(pk=request.user.pk).update(**chosen)
    return response


def remember(response: HttpResponse, **chosen: str) -> None:
    """Cookies for the pages before signing in; an empty choice is the browser's own."""
    for name, cookie in COOKIES.items():
        if value := chosen.get(name):
            response.set_cookie(cookie, value, max_age=YEAR, secure=settings.SESSION_COOKIE_SECURE, samesite="Lax")
        elif name in chosen:
            response.delete_cookie(cookie)


@require_safe
@cache_control(public=True, max_age=YEAR, immutable=True)
def catalogue(request: HttpRequest, language: str, version: str) -> HttpResponse:
    """gettext and its messages as a script. The address names a version, so a browser asks once for each."""
    if language not in dict(settings.LANGUAGES):
        raise Http404("There is no such language.")
    return _catalogue_script(language)


def catalogue_url(language: str) -> str:
    return reverse("annotate:catalogue", args=[language, _version(language)])


def _catalogue_script(language: str) -> HttpResponse:
    with translation.override(language):
        script: HttpResponse = JavaScriptCatalog(domain="djangojs", packages=["annotate"]).get(HttpRequest())
        return script


@lru_cache
def _version(language: str) -> str:
    return sha256(_catalogue_script(language).content).hexdigest()[:12]
