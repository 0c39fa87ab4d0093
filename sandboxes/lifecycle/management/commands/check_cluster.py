"""`manage.py check_cluster [NAME]`: what this cluster can and cannot do; exit 1 if no sandbox could be opened."""

import json
import textwrap
from argparse import ArgumentParser
from typing import Any, Final

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from sandboxes.errors import PetridishError
from sandboxes.lifecycle import preflight
from sandboxes.lifecycle.preflight import Line, Report

_WIDTH: Final = 100
_MARKS: Final = {"ok": "ok     ", "warning": "warning", "missing": "MISSING"}


class Command(BaseCommand):
    help = "Looks at a cluster, tries a throw-away sandbox on it, and says what it can and cannot do."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", default="", help="the environment's cluster if left out")
        parser.add_argument("--json", action="store_true", help="the report as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            report = preflight.check(options["name"] or settings.CLUSTER_NAME)
        except PetridishError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(report.as_json(), indent=1))
        else:
            self._tell(report)
        if not report.usable:
            raise CommandError(f"No sandbox could be opened on cluster {report.cluster} as it is.")

    def _tell(self, report: Report) -> None:
        self.stdout.write(f"Cluster {report.cluster}\n\n")
        for line in report.lines:
            self._tell_line(line)
        if report.usable:
            self.stdout.write("\nSandboxes can be opened here.")

    def _tell_line(self, line: Line) -> None:
        self.stdout.write(f"{_MARKS[line.state]}  {line.what}: {line.found}")
        if line.state == "ok":
            return
        for text in (line.why, line.remedy):
            if text:
                indent = " " * 9
                self.stdout.write(
                    textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=indent)
                )
