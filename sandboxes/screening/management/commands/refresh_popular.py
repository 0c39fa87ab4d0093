"""`manage.py refresh_popular SOURCE`: a newer list of the projects that look-alikes are measured against."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from sandboxes.errors import PetridishError
from sandboxes.screening.popular.refreshing import refresh
from sandboxes.screening.words import Ecosystem


class Command(BaseCommand):
    help = (
        "Takes in a list of popular projects, most used first, in place of the shipped one: lines of text, a "
        "JSON list of names or of objects with a name, or an object that holds such a list. Scanners that "
        "run already keep theirs until they start again."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", help="a path, or an https:// URL")
        parser.add_argument("--ecosystem", choices=list(map(str, Ecosystem)), default=str(Ecosystem.PYPI))

    def handle(self, *, source: str, ecosystem: str, **options: object) -> None:
        try:
            count = refresh(source, Ecosystem(ecosystem))
        except PetridishError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} names of {ecosystem}.")
