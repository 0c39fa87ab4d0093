"""`manage.py import_policy_logs FILE|-`: takes in what a cluster's network policies dropped."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TextIO

from django.core.management.base import BaseCommand, CommandError

from sandboxes.usage import policy_logs

_AT_ONCE = 5_000  # lines


class Command(BaseCommand):
    help = (
        "Takes in lines of Cilium's Hubble export or Calico's flow logs (newline-delimited JSON): attempts to get "
        "out of a sandbox that a network policy dropped. Lines that are here already count no second time."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", help="a file, or - for what is piped in")
        parser.add_argument(
            "--cluster", default="", help="the cluster's name here, where namespaces do not tell"
        )

    def handle(self, *, source: str, cluster: str, **options: object) -> None:
        try:
            whole = _taken(source, cluster)
        except OSError as error:
            raise CommandError(f"{source} cannot be read: {error.strerror}.") from error
        told = {name: number for name, number in asdict(whole).items() if name != "named"}
        self.stdout.write(", ".join(f"{number} {name}" for name, number in told.items()))
        for each in whole.named:
            self.stderr.write(f"  unknown: line {each}")


def _taken(source: str, cluster: str) -> policy_logs.Taken:
    if source == "-":
        return _in_pieces(sys.stdin, cluster)
    with Path(source).open(encoding="utf-8", errors="replace") as file:
        return _in_pieces(file, cluster)


def _in_pieces(file: TextIO, cluster: str) -> policy_logs.Taken:
    """A log may be larger than memory."""
    whole = policy_logs.Taken()
    for first, lines in _pieces(file):
        whole.add(policy_logs.take("".join(lines), cluster=cluster, first=first))
    return whole


def _pieces(file: TextIO) -> Iterator[tuple[int, list[str]]]:
    first = 1
    while lines := list(islice(file, _AT_ONCE)):
        yield first, lines
        first += len(lines)
