"""A bounded memory: what was used longest ago goes first."""

from collections import OrderedDict
from collections.abc import Hashable


class Lru[K: Hashable, V]:
    """Holds values up to a total weight; one that is heavier than all room is not kept."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._used = 0
        self._items: OrderedDict[K, tuple[V, int]] = OrderedDict()

    @property
    def used(self) -> int:
        return self._used

    def get(self, key: K) -> V | None:
        if key not in self._items:
            return None
        self._items.move_to_end(key)
        return self._items[key][0]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        self.drop(key)
        if weight > self._room:
            return
        self._items[key] = (value, weight)
        self._used += weight
        while self._used > self._room:
            _, (_, dropped) = self._items.popitem(last=False)
            self._used -= dropped

    def drop(self, key: K) -> None:
        if key in self._items:
            self._used -= self._items.pop(key)[1]
