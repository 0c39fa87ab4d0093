from django.apps import AppConfig


class UsageConfig(AppConfig):
    name = "sandboxes.usage"
    label = "usage"
