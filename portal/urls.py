"""All addresses. Every one is named in tests/portal/test_urls.py with who may open it."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
