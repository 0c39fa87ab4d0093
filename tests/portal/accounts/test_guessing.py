"""One account may not be guessed at, whatever the visitor writes into the request."""

import pytest
from django.test import Client

from portal.accounts.models import User


@pytest.mark.django_db
def test_the_host_header_gives_no_fresh_tries(alice: User, client: Client) -> None:
    def attempt(number: int) -> str:
        wrong = {"login": "alice", "password": f"wrong-{number}"}
        answer = client.post("/accounts/login/", wrong, headers={"host": f"127.0.0.1:{9000 + number}"})
        return answer.content.decode()

    pages = [attempt(number) for number in range(8)]
    assert "Too many" not in pages[0]
    assert "Too many" in pages[-1]
