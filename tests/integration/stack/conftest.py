"""A stack of its own for tests that kill and stop what others would still need."""

from collections.abc import Iterator

import pytest

from deploy.local.options import Options
from deploy.local.stack import Stack, Stage


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(Options(root=tmp_path_factory.mktemp("own")))
    stack.up(until=Stage.INFRASTRUCTURE)
    try:
        yield stack
    finally:
        stack.clean()
