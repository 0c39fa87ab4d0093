"""The rows of the lifecycle, by what they are about."""

from sandboxes.lifecycle.models.alarm import Alarm
from sandboxes.lifecycle.models.cluster import RegisteredCluster
from sandboxes.lifecycle.models.egress import EgressException
from sandboxes.lifecycle.models.engine import EngineState, Orphan
from sandboxes.lifecycle.models.honeytoken import Honeytoken, HoneytokenUse
from sandboxes.lifecycle.models.isolation import ContainerLog, Isolation
from sandboxes.lifecycle.models.quota import Quota
from sandboxes.lifecycle.models.sandbox import Probe, Receipt, Sandbox, Step

__all__ = [
    "Alarm",
    "ContainerLog",
    "EgressException",
    "EngineState",
    "Honeytoken",
    "HoneytokenUse",
    "Isolation",
    "Orphan",
    "Probe",
    "Quota",
    "Receipt",
    "RegisteredCluster",
    "Sandbox",
    "Step",
]
