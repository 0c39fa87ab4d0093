"""`manage.py verify_fetches`: are the recorded fetches those whose digests stand in the ledger? Exit 1 if not."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sandboxes.usage.models import FetchBatch
from sandboxes.usage.services import verify_batch


class Command(BaseCommand):
    help = "Recomputes every sealed batch of fetches; run verify_ledger too, which vouches for the digests."

    def handle(self, *args: Any, **options: Any) -> None:
        rows = 0
        for batch in FetchBatch.objects.order_by("first_id").iterator():
            if not verify_batch(batch):
                raise CommandError(
                    f"Fetches {batch.first_id} to {batch.last_id} are not those that were sealed."
                )
            rows += batch.rows
        self.stdout.write(f"The sealed fetches hold: {rows}, none changed, none missing.")
