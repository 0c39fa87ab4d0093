"""The folder that is the queue where no broker is installed."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty

import pytest
from kombu import Connection

from portal.broker import Channel, Transport


@pytest.fixture
def channel(tmp_path: Path) -> Iterator[Callable[[], Channel]]:
    """Channels of as many processes as a test wants, over one folder."""
    (tmp_path / "control").mkdir()
    options = {
        "data_folder_in": str(tmp_path),
        "data_folder_out": str(tmp_path),
        "control_folder": str(tmp_path / "control"),
    }
    opened: list[Connection] = []

    def open_one() -> Channel:
        connection = Connection("filesystem://localhost", transport=Transport, transport_options=options)
        opened.append(connection)
        made = connection.default_channel
        assert isinstance(made, Channel)
        return made

    yield open_one
    for connection in opened:
        connection.release()


def test_messages_come_in_the_order_they_were_sent_and_once(channel: Callable[[], Channel]) -> None:
    one = channel()
    for number in range(3):
        one._put("work", {"number": number})
    one._put("other", {"number": 9})
    assert [one._get("work")["number"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Empty):
        one._get("work")
    assert one._get("other") == {"number": 9}


def test_a_half_written_message_is_not_seen(channel: Callable[[], Channel], tmp_path: Path) -> None:
    (tmp_path / "1_a.work.msg.draft").write_text('{"num')
    with pytest.raises(Empty):
        channel()._get("work")


def test_each_message_reaches_one_of_many_workers(channel: Callable[[], Channel]) -> None:
    sender, workers = channel(), [channel() for _ in range(4)]
    got: list[int] = []
    all_sent = threading.Event()

    def work(mine: Channel) -> None:
        while True:
            last_look = all_sent.is_set()
            try:
                got.append(mine._get("work")["number"])
            except Empty:
                if last_look:
                    return

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for number in range(200):
        sender._put("work", {"number": number})
    all_sent.set()
    for thread in threads:
        thread.join(20)
    assert sorted(got) == list(range(200))
