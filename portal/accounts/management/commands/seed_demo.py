"""`manage.py seed_demo`: the demo people and `demo.json`."""

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from portal.accounts import demo
from sandboxes.errors import PetridishError


class Command(BaseCommand):
    help = "Makes the demo people who are missing and writes their sign-ins to demo.json. Not in production."

    def handle(self, *args: object, **options: object) -> None:
        try:
            logins = demo.seed(settings.ENV)
        except PetridishError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{len(logins)} people; their sign-ins are in {demo.logins_file(settings.ENV)}.")
