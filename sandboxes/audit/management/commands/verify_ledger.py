"""`manage.py verify_ledger`: recompute the chain; exit 1 and name the first broken entry if it does not hold."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from sandboxes.audit.services import verify


class Command(BaseCommand):
    help = "Verifies the ledger's chain and names the first broken entry."

    def handle(self, *args: Any, **options: Any) -> None:
        result = verify()
        if not result.ok:
            raise CommandError(f"Entry {result.first_broken} is broken: {result.reason}.")
        self.stdout.write(f"The ledger holds: {result.entries} entries, none changed, none missing.")
