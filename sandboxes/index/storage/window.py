"""The newest bytes of a file that the disk has no room for. Bounded: whoever adds waits for those who read."""

from collections import deque

ROOM = 1024 * 1024  # bytes, beyond which it is full; it may exceed that by one chunk


class Window:
    def __init__(self, start: int) -> None:
        self.start = start  # of the first byte that is still here
        self.end = start
        self._chunks: deque[bytes] = deque()

    @property
    def full(self) -> bool:
        return self.end - self.start > ROOM

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self.end += len(chunk)

    def forget(self, before: int) -> None:
        """Lets go of chunks that end at or before that byte."""
        while self._chunks and self.start + len(self._chunks[0]) <= before:
            self.start += len(self._chunks.popleft())

    def piece(self, start: int, stop: int) -> memoryview:
        """Some bytes from `start` on, and none from `stop` on; nothing of what was let go of."""
        begin = self.start
        if start < begin:
            return memoryview(b"")
        for chunk in self._chunks:
            if start < begin + len(chunk):
                return memoryview(chunk)[start - begin : stop - begin]
            begin += len(chunk)
        return memoryview(b"")
