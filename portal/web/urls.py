"""The pages' addresses: one view each."""

from django.urls import path

from portal.web import home, ledger, new_request, profile, queue, report, request, rules, sandbox, sandboxes

urlpatterns = [
    path("", home.home, name="home"),
    path("requests/new", new_request.new_request, name="new_request"),
    path("requests/new/preview", new_request.preview, name="new_request_preview"),
    path("requests/<int:request_id>", request.show, name="request"),
    path("requests/<int:request_id>/decide", request.decide, name="request_decide"),
    path("requests/<int:request_id>/withdraw", request.withdraw, name="request_withdraw"),
    path("queue", queue.queue, name="queue"),
    path("sandboxes", sandboxes.sandboxes, name="sandboxes"),
    path("sandboxes/<int:sandbox_id>", sandbox.show, name="sandbox"),
    path("sandboxes/<int:sandbox_id>/access", sandbox.access, name="sandbox_access"),
    path("sandboxes/<int:sandbox_id>/extend", sandbox.extend, name="sandbox_extend"),
    path("sandboxes/<int:sandbox_id>/end", sandbox.end, name="sandbox_end"),
    path("reports/usage", report.report, name="report"),
    path("reports/usage.csv", report.report_csv, name="report_csv"),
    path("ledger", ledger.ledger, name="ledger"),
    path("ledger/verify", ledger.verify, name="ledger_verify"),
    path("profile", profile.profile, name="profile"),
    path("profile/tokens", profile.issue_token, name="token_issue"),
    path("profile/tokens/<int:token_id>/revoke", profile.revoke_token, name="token_revoke"),
    path("rules", rules.rules, name="rules"),
]
