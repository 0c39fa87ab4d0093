"""All addresses. Every one is named in tests/portal/test_urls.py with who may open it."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [
    path("accounts/", include("portal.accounts.urls")),
    path("", include("portal.api.urls")),
    path("", include("portal.web.urls")),
]
