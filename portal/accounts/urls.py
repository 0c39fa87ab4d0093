"""Signing in and out: what we offer of allauth, no more.

Left out on purpose: changing one's own address, resetting a password by mail
(IT does, or the identity provider), and linking accounts.
"""

from allauth.account import views as account
from allauth.socialaccount import views as social
from allauth.urls import build_provider_urlpatterns
from django.urls import URLPattern, URLResolver, path

from portal.accounts import views

urlpatterns: list[URLPattern | URLResolver] = [
    path("login/", account.login, name="account_login"),
    path("logout/", account.logout, name="account_logout"),
    path("inactive/", account.account_inactive, name="account_inactive"),
    path("signup/", account.signup, name="account_signup"),  # says that it is closed
    path("password/change/", views.change_password, name="account_change_password"),
    path("3rdparty/login/cancelled/", social.login_cancelled, name="socialaccount_login_cancelled"),
    path("3rdparty/login/error/", social.login_error, name="socialaccount_login_error"),
    *build_provider_urlpatterns(),
]
