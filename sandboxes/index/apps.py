from django.apps import AppConfig


class IndexConfig(AppConfig):
    name = "sandboxes.index"
    label = "index"
