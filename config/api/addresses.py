"""The API's addresses, imported at the first request of one: ninja and the routes take 15 MB and 0.3 s of a process,
which one that no program asks never spends."""

from django.urls import URLPattern, URLResolver, path

from config.api import reference
from config.api.assembly import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("openapi.json", reference.openapi, name="openapi"),
    path("docs", reference.docs, name="reference"),
    *api.urls[0],
]
