"""`manage.py person NAME`: adds a person or changes a role; how an installation gets its first admin."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from portal.accounts.models import User
from portal.accounts.permissions import Role
from portal.accounts.services import add_person, change_role, set_active
from sandboxes.errors import PetridishError


class Command(BaseCommand):
    help = (
        "Adds a person or changes a role. A password is set with changepassword; single sign-on needs none."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--role", choices=[*Role], default=None)
        parser.add_argument("--display-name", default="")
        parser.add_argument("--department", default="")
        parser.add_argument("--email", default="")
        parser.add_argument("--disable", action="store_true", help="end their sessions and tokens")
        parser.add_argument("--enable", action="store_true")

    def handle(
        self,
        *,
        username: str,
        role: str | None,
        display_name: str,
        department: str,
        email: str,
        disable: bool,
        enable: bool,
        **options: object,
    ) -> None:
        if disable and enable:
            raise CommandError("--disable and --enable: choose one.")
        try:
            person = User.objects.filter(username=username).first() or add_person(
                username=username, display_name=display_name, department=department, email=email, by=None
            )
            if role is not None:
                change_role(person, Role(role), by=None)
            if disable or enable:
                set_active(person, enable, by=None)
        except PetridishError as error:
            raise CommandError(str(error)) from error
        state = "" if person.is_active else ", disabled"
        self.stdout.write(f"{person.username}: {person.role}{state}.")
