"""`manage.py import_advisories PATH_OR_URL`: takes in a feed of OSV records."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from sandboxes.errors import PetridishError
from sandboxes.screening.feeds import Counts, import_feed


class Command(BaseCommand):
    help = (
        "Takes in OSV records: a JSON file, a folder of them, an ecosystem's dump (zip), or an https URL of "
        "such a file. Records that are here already in a version that is no older are left as they are."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", help="a path, or an https:// URL")

    def handle(self, *, source: str, **options: object) -> None:
        try:
            counts = import_feed(source, by=None)
        except PetridishError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(_told(counts))
        for broken in counts.broken_named:
            self.stderr.write(f"  skipped {broken}")
        if counts.broken > len(counts.broken_named):
            self.stderr.write(f"  and {counts.broken - len(counts.broken_named)} more")


def _told(counts: Counts) -> str:
    return (
        f"{counts.read} records: {counts.new} new, {counts.changed} changed ({counts.withdrawn} withdrawn, "
        f"{counts.restored} restored), {counts.unchanged} unchanged, {counts.elsewhere} about nothing "
        f"that is served here, {counts.broken} broken."
    )
