"""The queue as a folder, for a machine with no broker: kombu's filesystem transport, made safe against halves.

Kombu's own writes a message under its final name, so that a worker may read half
of one, and passes what it takes through the machine's shared temporary folder.
Here a message is written aside and renamed, and taken by renaming it too: each is
seen whole, by one worker, and never leaves our folder. One that a worker took and
died with is lost, which is allowed: messages are hints.
"""

import time
import uuid
from pathlib import Path
from queue import Empty
from typing import Any

from kombu.transport import filesystem
from kombu.utils.json import dumps, loads


class Channel(filesystem.Channel):
    """Messages are files named TIME_UUID.QUEUE.msg, oldest first."""

    def _put(self, queue: str, payload: dict[str, Any], **kwargs: Any) -> None:  # type: ignore[override]
        name = f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"
        final = Path(self.data_folder_out) / name
        draft = final.with_name(f"{name}.draft")
        draft.write_text(dumps(payload))
        draft.replace(final)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        """The oldest whole message of the queue; Empty if there is none."""
        folder = Path(self.data_folder_in)
        for name in sorted(path.name for path in folder.iterdir()):
            if name.partition(".")[2] != f"{queue}.msg":
                continue
            taken = folder / f"{name}.taken"
            try:
                (folder / name).rename(taken)
            except FileNotFoundError:  # another worker was faster
                continue
            text = taken.read_text()
            taken.unlink()
            return loads(text)
        raise Empty


class Transport(filesystem.Transport):
    Channel = Channel
