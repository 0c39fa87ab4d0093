"""Something to stand between the lifecycle and its cluster, for tests of what is called, and when."""

from collections.abc import Callable
from typing import Any

import pytest

from sandboxes.cluster.api import Api
from sandboxes.cluster.driver import Cluster

Watch = Callable[[str], None]


class Between:
    """Stands between the lifecycle and the real driver: notes each call, and may answer the first ones itself."""

    def __init__(self, real: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.first: dict[str, list[Any]] = {}  # by method: answers to give before the real ones
        self.before: Watch = lambda call: None
        self.after: Watch = lambda call: None
        self._real, self.name = real, real.name
        monkeypatch.setattr("sandboxes.lifecycle.clusters.get", lambda name: self)

    @property
    def api(self) -> Api:
        return self._real.api

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._real, name)

        def run(*args: Any, **options: Any) -> Any:
            call = f"apply {args[0][0]['kind']}" if name == "apply" else name
            self.before(call)
            self.calls.append(call)
            answers = self.first.get(name)
            result = answers.pop(0) if answers else method(*args, **options)
            self.after(call)
            return result

        return run
