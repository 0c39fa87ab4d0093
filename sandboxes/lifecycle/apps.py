from django.apps import AppConfig


class LifecycleConfig(AppConfig):
    name = "sandboxes.lifecycle"
    label = "lifecycle"
