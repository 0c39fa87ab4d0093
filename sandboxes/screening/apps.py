from django.apps import AppConfig


class ScreeningConfig(AppConfig):
    name = "sandboxes.screening"
    label = "screening"
