"""`manage.py platform_manifests`: what a cluster's admin applies before Petridish works there."""

from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from sandboxes.cluster.platform import Platform, render_platform, whoami, written
from sandboxes.errors import PetridishError
from sandboxes.lifecycle import clusters


class Command(BaseCommand):
    """Prints YAML, and changes nothing anywhere."""

    help = "Print the manifests that a cluster needs, for: kubectl apply -f -"
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Who Petridish is there: a name, or whoever its own credentials for a cluster make it."""
        who = parser.add_mutually_exclusive_group()
        who.add_argument("--cluster", help="ask this registered cluster who Petridish is there")
        who.add_argument(
            "--user", help="Petridish's user name on the cluster (default: its own service account)"
        )

    def handle(self, *args: object, cluster: str | None, user: str | None, **options: object) -> None:
        """To standard output only the manifests, so that it can be piped."""
        try:
            user = whoami(clusters.get(cluster)) if cluster else user
            given = {"user": user} if user else {}
            platform = Platform(settings.INSTALLATION_ID, settings.IMAGE_REGISTRIES, **given)
            objects = render_platform(settings.TEMPLATES_ROOT, platform)
        except PetridishError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(written(objects))
        if user and not user.startswith("system:serviceaccount:"):
            self.stderr.write(
                f"Note: {user} is no service account, so nothing keeps it from changing things outside of"
                " sandboxes; an account that is only Petridish's would be safer."
            )
