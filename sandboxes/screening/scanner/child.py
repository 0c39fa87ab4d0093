"""The child's loop: a request a line, a report a line, until its input ends.

What it answers on is moved out of reach first, so that nothing that a detector or a library prints can pass
for a report.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from sandboxes.screening.detectors import Detector
from sandboxes.screening.scanner import protocol
from sandboxes.screening.scanner.confinement import confine, give_time
from sandboxes.screening.scanner.looking import report


def serve(detectors: Sequence[Detector]) -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.stdout.fileno())
    os.close(quiet)
    confine()
    _say(answers, protocol.READY)
    decoder = msgspec.json.Decoder(protocol.Request)
    for line in sys.stdin.buffer:
        request = decoder.decode(line)
        give_time(request.seconds)
        former = Path(request.former) if request.former else None
        done = report(Path(request.path), request.facts, former, detectors)
        _say(answers, msgspec.json.encode(done) + b"\n")


def _say(answers: BinaryIO, data: bytes) -> None:
    answers.write(data)
    answers.flush()
