"""The child's loop: a request a line, a report a line, until its input ends.

What it answers on is moved out of reach first, so that nothing that a detector or a library prints can pass
for a report.
"""

import os
import socket
import sys
from collections.abc import Sequence
from typing import BinaryIO

import msgspec

from sandboxes.screening.detectors import Detector
from sandboxes.screening.scanner import protocol
from sandboxes.screening.scanner.confinement import confine, give_time
from sandboxes.screening.scanner.looking import report


def serve(detectors: Sequence[Detector]) -> None:
    """Its first argument is the number of the socket that files come by."""
    files = socket.socket(fileno=int(sys.argv[1]))
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, sys.stdout.fileno())
    os.close(quiet)
    _say(answers, protocol.Ready(missing=confine()))
    decoder = msgspec.json.Decoder(protocol.Request)
    for line in sys.stdin.buffer:
        request = decoder.decode(line)
        _, handles, _, _ = socket.recv_fds(files, 1, protocol.HANDLES)
        try:
            give_time(request.seconds)
            file, *beside = handles
            former = beside.pop(0) if request.former else None
            sources = beside.pop(0) if request.sources else None
            found = report(file, request.facts, former, detectors, sources)
            _say(answers, protocol.Answer(request.token, found))
        finally:
            for handle in handles:
                os.close(handle)


def _say(answers: BinaryIO, what: msgspec.Struct) -> None:
    answers.write(msgspec.json.encode(what) + b"\n")
    answers.flush()
