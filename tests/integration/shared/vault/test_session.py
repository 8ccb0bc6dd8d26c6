import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shared.clock import SystemClock
from shared.errors import Unavailable
from shared.http.server import serve
from shared.vault.config import VaultConfig
from shared.vault.errors import VaultRefused
from shared.vault.session import VaultSession, open_vault
from shared.vault.transit import Transit
from tests.integration.shared.vault.conftest import MakeRole
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.connected

Revoke = Callable[[VaultConfig], int]


async def encrypt(session: VaultSession) -> str:
    return await Transit(session).encrypt("intake", b"x", context=b"context")


async def test_a_revoked_token_is_replaced_once_for_all_that_wait(
    make_role: MakeRole, revoke_tokens: Revoke
) -> None:
    config = await asyncio.to_thread(make_role, "ingress")
    async with open_vault(config, SystemClock()) as session:
        assert await asyncio.to_thread(revoke_tokens, config) == 1

        await asyncio.gather(*(encrypt(session) for _ in range(20)))

        assert session.healthy() is None
        assert await asyncio.to_thread(revoke_tokens, config) == 1


async def test_a_token_outlives_its_term_because_it_is_renewed(
    make_role: MakeRole, revoke_tokens: Revoke
) -> None:
    config = await asyncio.to_thread(make_role, "ingress", term="2s")
    async with open_vault(config, SystemClock()) as session:
        loop = asyncio.get_running_loop()
        end = loop.time() + 3.5
        async with asyncio.timeout(10):
            while loop.time() < end:
                assert session.healthy() is None
                await encrypt(session)
                await asyncio.sleep(0.1)

        assert await asyncio.to_thread(revoke_tokens, config) == 1


async def test_a_wrong_secret_id_is_refused(make_role: MakeRole) -> None:
    config = await asyncio.to_thread(make_role, "ingress")
    await asyncio.to_thread(config.secret_id_file.write_text, "made-up-secret")

    with pytest.raises(VaultRefused) as raised:
        async with open_vault(config, SystemClock()):
            raise AssertionError("not reached")

    assert raised.value.path == "auth/approle/login"
    assert "made-up-secret" not in str(raised.value)


async def test_a_missing_secret_id_is_waited_for(make_role: MakeRole) -> None:
    config = await asyncio.to_thread(make_role, "ingress")
    late = config.secret_id_file.with_suffix(".late")
    async with asyncio.TaskGroup() as group:

        async def use() -> str:
            async with open_vault(replace(config, secret_id_file=late), SystemClock()) as session:
                return await encrypt(session)

        used = group.create_task(use())
        await asyncio.to_thread(config.secret_id_file.rename, late)
    assert used.result().startswith("vault:")


class StandIn:
    """Plays a Vault that logs in and then answers as told, or not at all."""

    def __init__(self) -> None:
        self.status = 200
        self.hangs = False
        self.logins = 0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_route("*", "/v1/auth/approle/login", self._log_in)
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _log_in(self, _request: web.Request) -> web.Response:
        self.logins += 1
        return web.json_response(self._token())

    async def _answer(self, request: web.Request) -> web.Response:
        if self.hangs:
            await asyncio.Event().wait()
        if self.status != 200:
            return web.json_response(
                {"errors": ["it failed"]},
                status=self.status,
                headers={"Location": "http://127.0.0.1:1/"} if self.status == 307 else {},
            )
        if request.path.startswith("/v1/auth"):
            return web.json_response(self._token())
        return web.json_response({"data": {"ciphertext": "vault:v1:abc"}})

    @staticmethod
    def _token() -> dict[str, Any]:
        auth = {"client_token": "s.made-up", "lease_duration": 3600, "renewable": True}
        return {"auth": auth}


@asynccontextmanager
async def opened(
    stand_in: StandIn, tmp_path: Path, timeout_seconds: float = 2.0
) -> AsyncIterator[VaultSession]:
    secret_id_file = tmp_path / "secret-id"
    await asyncio.to_thread(secret_id_file.write_text, "x")
    async with serve(stand_in.app(), "127.0.0.1", 0, shutdown_seconds=0.1) as port:
        config = VaultConfig(
            address=f"http://127.0.0.1:{port}",
            role_id="x",
            secret_id_file=secret_id_file,
            timeout_seconds=timeout_seconds,
            start_wait_seconds=2,
        )
        async with open_vault(config, SystemClock()) as session:
            yield session


@pytest.mark.parametrize("status", [307, 429, 500, 502, 503])
async def test_a_vault_that_fails_is_unavailable_until_it_answers_again(
    tmp_path: Path, status: int
) -> None:
    stand_in = StandIn()
    async with opened(stand_in, tmp_path) as session:
        stand_in.status = status
        with pytest.raises(Unavailable) as raised:
            await encrypt(session)
        assert raised.value.dependency == "vault"
        assert session.healthy() is not None

        stand_in.status = 200
        await wait_until(lambda: session.healthy() is None)  # without anybody using it


async def test_a_vault_that_does_not_answer_is_unavailable_in_time(tmp_path: Path) -> None:
    stand_in = StandIn()
    async with opened(stand_in, tmp_path, timeout_seconds=0.3) as session:
        stand_in.hangs = True
        async with asyncio.timeout(2):
            outcomes = await asyncio.gather(
                *(encrypt(session) for _ in range(20)), return_exceptions=True
            )

    assert {type(outcome) for outcome in outcomes} == {Unavailable}


async def test_nobody_there_is_unavailable(tmp_path: Path) -> None:
    config = VaultConfig(
        address="http://127.0.0.1:1",
        role_id="x",
        secret_id_file=tmp_path / "none",
        start_wait_seconds=0.2,
    )
    with pytest.raises(Unavailable):
        async with open_vault(config, SystemClock()):
            raise AssertionError("not reached")


async def test_a_refusal_does_not_make_it_log_in_again(tmp_path: Path) -> None:
    stand_in = StandIn()
    async with opened(stand_in, tmp_path) as session:
        stand_in.status = 400
        with pytest.raises(VaultRefused):
            await encrypt(session)

        assert stand_in.logins == 1
        assert session.healthy() is None
