"""`manage.py prefetch`: fills the index's store, so that sandboxes can install with a slow upstream, or none."""

import asyncio
import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.models import Count

from sandboxes.index import config, requirements_file
from sandboxes.index.names import is_project
from sandboxes.index.npm.lock_file import read_lock
from sandboxes.index.npm.prefetch import prefetch_npm
from sandboxes.index.prefetch import Report, Target, prefetch, prefetch_each
from sandboxes.usage.models import Install


class Command(BaseCommand):
    help = "Fetches packages, what they need, and their pages through the package index into its store."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("-r", "--requirement", type=Path, help="a file of requirements, hashes honoured")
        what.add_argument("--npm", type=Path, metavar="package-lock.json", help="a lock file of npm")
        what.add_argument("--top", type=int, metavar="N", help="the N projects that most sandboxes installed")
        parser.add_argument(
            "--names", type=Path, help="with --top: a list of projects to take instead, the first N of it"
        )
        parser.add_argument("--python", default="", metavar="3.13", help="for that Python, not this one")
        parser.add_argument(
            "--platform",
            action="append",
            default=[],
            metavar="manylinux_2_28_x86_64",
            help="for that platform, not this one; may be given several times",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        target = Target(options["python"], tuple(options["platform"]))
        settings = config.read(os.environ | {"DATABASE_URL": _database_url()})
        if options["requirement"]:
            wanted = requirements_file.read(options["requirement"])
            report = asyncio.run(prefetch(settings, wanted, target))
            report.failures |= dict.fromkeys(wanted.left_out, "not a name from an index: left out")
        elif options["npm"]:
            lock = read_lock(options["npm"])
            report = asyncio.run(prefetch_npm(settings, lock))
            report.failures |= dict.fromkeys(lock.left_out, "not from a registry: left out")
        else:
            report = asyncio.run(prefetch_each(settings, _names(options["top"], options["names"]), target))
        self._tell(report)

    def _tell(self, report: Report) -> None:
        for name in sorted(report.files):
            self.stdout.write(name)
        self.stdout.write(f"{len(report.files)} files, {report.size} bytes, are in the store.")
        if report.failures:
            lines = "\n".join(f"  {what}: {why}" for what, why in report.failures.items())
            raise CommandError(f"Not fetched:\n{lines}")


def _names(most: int, listed: Path | None) -> list[str]:
    if listed is not None:
        names = [line.strip() for line in listed.read_text().splitlines()]
        return [name for name in names if is_project(name)][:most]
    used = (
        Install.objects.filter(ecosystem="pypi")
        .values("project")
        .annotate(users=Count("sandbox", distinct=True))
    )
    return [row["project"] for row in used.order_by("-users", "project")[:most]]


def _database_url() -> str:
    """Where Django's own connection leads."""
    settings = connection.settings_dict
    user, password, name = (quote(str(settings[key] or ""), safe="") for key in ("USER", "PASSWORD", "NAME"))
    place = {key.lower(): str(settings[key]) for key in ("HOST", "PORT") if settings[key]}
    return f"postgresql://{user}:{password}@/{name}?{urlencode(place)}"
