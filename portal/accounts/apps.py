from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "portal.accounts"
    label = "accounts"

    def ready(self) -> None:
        from portal import checks  # noqa: F401  registers itself
        from portal.accounts import signals  # noqa: F401  connects itself
