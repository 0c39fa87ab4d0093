"""/policy-logs: what the cluster's network policies dropped, as its network plugin logs it. For a shipper of logs."""

from secrets import compare_digest

from django.conf import settings
from ninja import Router
from ninja import Schema as Output

from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import Text
from sandboxes.usage import policy_logs

router = Router(tags=["operations"])
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
    }
}


def _is_shipper(token: str) -> bool:
    own = settings.POLICY_LOG_TOKEN
    return bool(own) and compare_digest(own.encode(), token.encode())


send = Bearer(Permission.OPERATE, program=_is_shipper)


class TakenOut(Output):
    """What became of a batch's lines.

    `counted`: attempts that are new. `known`: in here already. `passed`: no packet that a policy dropped on its way
    out of a pod, or the probe's. `elsewhere`: of no sandbox that lives or ended within two days. `unknown`: not
    understood; `named` are the first ten of them, by number, with the reason.
    """

    lines: int
    counted: int
    known: int
    passed: int
    elsewhere: int
    unknown: int
    named: list[str]


@router.post("", auth=send, response=TakenOut, openapi_extra=_BODY)
def take_policy_logs(request: ApiRequest, cluster: Text = "") -> policy_logs.Taken:
    """Lines of Cilium's Hubble export or Calico's flow logs, as newline-delimited JSON or an array.

    `cluster` is the cluster's name here. A line that is not understood is counted and named, and fails nothing.
    """
    return policy_logs.take(request.body.decode("utf-8", "replace"), cluster=cluster)
