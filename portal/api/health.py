"""Whether the web process lives, and whether it can do its work. Open to all: both say nothing else."""

from functools import cache

from django.db import DatabaseError, connection
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe


class _NotMigratedError(Exception):
    pass


@never_cache
@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"status": "ok"})


@never_cache
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """200 when the database answers and holds every migration this code knows, else 503 with the reason."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        _check_migrations()
    except DatabaseError:
        return JsonResponse({"status": "not ready", "reason": "The database does not answer."}, status=503)
    except _NotMigratedError as error:
        return JsonResponse({"status": "not ready", "reason": str(error)}, status=503)
    return JsonResponse({"status": "ok"})


@cache
def _check_migrations() -> None:
    """Read once: what raises is not cached, and what has been applied stays so while this process lives."""
    loader = MigrationLoader(connection)
    missing = set(loader.graph.nodes) - set(loader.applied_migrations)
    if missing:
        raise _NotMigratedError(f"{len(missing)} migration(s) wait to be applied.")
