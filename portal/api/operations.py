"""/sandboxes/{id}/…: sleep and wake, isolate and release, hold and lift."""

from ninja import Router, Status
from pydantic import AwareDatetime

from portal.accounts.models import User
from portal.accounts.permissions import Permission
from portal.api.auth import ApiRequest, Bearer
from portal.api.fields import Input, Text
from portal.api.sandboxes import SandboxOut, shown
from portal.approvals import operations
from portal.approvals.queries import sandbox_for

router = Router(tags=["sandboxes"])
# Who sees the sandbox at all; the service decides what they may do to it.
seen = Bearer(Permission.REQUEST_SANDBOX, Permission.SEE_ALL_SANDBOXES)
cut_off = Bearer(Permission.ISOLATE_SANDBOX)
keep = Bearer(Permission.HOLD_SANDBOX)


class Because(Input):
    """Why; the owner and the auditors read it."""

    reason: Text


class NewHold(Input):
    """Until when nothing ends it (ISO 8601 with a time zone), and why."""

    until: AwareDatetime
    reason: Text


@router.post("/{int:sandbox_id}/hibernate", auth=seen, response={202: SandboxOut})
def hibernate_sandbox(request: ApiRequest, sandbox_id: int) -> Status[SandboxOut]:
    """Put one's own sandbox to sleep. **Its files are lost**; lease, name and token stay."""
    operations.hibernate(sandbox_id, by=request.auth)
    return Status(202, _now(request.auth, sandbox_id))


@router.post("/{int:sandbox_id}/wake", auth=seen, response={202: SandboxOut})
def wake_sandbox(request: ApiRequest, sandbox_id: int) -> Status[SandboxOut]:
    """Wake it; it is ready again once its seal is proven."""
    operations.wake(sandbox_id, by=request.auth)
    return Status(202, _now(request.auth, sandbox_id))


@router.post("/{int:sandbox_id}/isolate", auth=cut_off, response={202: SandboxOut})
def isolate_sandbox(request: ApiRequest, sandbox_id: int, payload: Because) -> Status[SandboxOut]:
    """Cut it off at once; one that never opened is ended. On one that is isolated, the reason is added."""
    operations.isolate(sandbox_id, by=request.auth, reason=payload.reason)
    return Status(202, _now(request.auth, sandbox_id))


@router.post("/{int:sandbox_id}/release", auth=cut_off, response={202: SandboxOut})
def release_sandbox(request: ApiRequest, sandbox_id: int, payload: Because) -> Status[SandboxOut]:
    """Open an isolated sandbox of somebody else again, once its seal is proven anew."""
    operations.release(sandbox_id, by=request.auth, reason=payload.reason)
    return Status(202, _now(request.auth, sandbox_id))


@router.post("/{int:sandbox_id}/hold", auth=keep, response=SandboxOut)
def hold_sandbox(request: ApiRequest, sandbox_id: int, payload: NewHold) -> SandboxOut:
    """Stop every end of it until then; on one that is held, change date and reason."""
    operations.hold(sandbox_id, by=request.auth, until=payload.until, reason=payload.reason)
    return _now(request.auth, sandbox_id)


@router.post("/{int:sandbox_id}/lift", auth=keep, response=SandboxOut)
def lift_hold(request: ApiRequest, sandbox_id: int, payload: Because) -> SandboxOut:
    """End its hold now; the lease counts again."""
    operations.lift(sandbox_id, by=request.auth, reason=payload.reason)
    return _now(request.auth, sandbox_id)


def _now(viewer: User, sandbox_id: int) -> SandboxOut:
    return shown(sandbox_for(viewer, sandbox_id), viewer)
