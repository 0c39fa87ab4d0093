from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "sandboxes.audit"
    label = "audit"
