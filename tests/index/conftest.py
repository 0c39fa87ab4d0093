"""One world for the whole folder: starting it takes a second, and no test here changes what another one sees."""

from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from tests.index import graphs, policy, projects
from tests.index.world import World, make_sandboxes, started
from tests.sandboxes.index.conftest import _delete_all, _set_floor, committed


@pytest.fixture(scope="package")
def world(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with django_db_blocker.unblock():
        committed(lambda: _set_floor({}))
        committed(make_sandboxes)
    with started(tmp_path_factory.mktemp("world")) as made:
        graphs.add_graphs(made.upstream)
        newer = projects.add_refusals(made.upstream)
        with django_db_blocker.unblock():
            committed(lambda: policy.set_policy(newer))
        yield made
    with django_db_blocker.unblock():
        committed(policy.forget_policy)
        committed(_delete_all)
        committed(lambda: _set_floor({}))
