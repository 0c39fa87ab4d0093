"""`manage.py person NAME`: adds a person, changes a role, disables; how an installation gets its first admin."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from portal.accounts.models import User
from portal.accounts.permissions import Role
from portal.accounts.services import add_person, change_role, set_active
from sandboxes.errors import PetridishError


class Command(BaseCommand):
    help = (
        "Adds a person who is not there yet, or changes the role of one who is; with --disable or --enable, "
        "of one who is there only. A password is set with changepassword; single sign-on needs none."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", help="whom: the name they sign in with")
        parser.add_argument(
            "--role",
            choices=[str(role) for role in Role],
            default=None,
            help="what they may do; who is added is an employee if left out",
        )
        parser.add_argument("--display-name", default="", help="only for one who is added")
        parser.add_argument("--department", default="", help="only for one who is added")
        parser.add_argument("--email", default="", help="only for one who is added")
        parser.add_argument(
            "--disable", action="store_true", help="end their sessions and tokens, isolate their sandboxes"
        )
        parser.add_argument("--enable", action="store_true", help="let them sign in again; releases nothing")

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
            person = User.objects.filter(username=username).first()
            if person is None and (disable or enable):
                raise CommandError(f"There is no person named {username}; nothing was changed.")
            person = person or add_person(
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
