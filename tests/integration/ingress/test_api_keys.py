"""/keys and what its keys may do, on the real servers."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from deploy.tap import tap
from services.ingress.domain.api_key_forms import KEYS_MAX
from services.ingress.operations import api_keys
from services.ingress.operations.connections import open_connections
from services.ingress.operations.outcomes import BadInput
from shared.clock import SystemClock
from shared.events.accounts import ApiKeyChanged
from shared.events.billing import ApiKeyLimit, KeySpending, Spending, SpendingPeriod
from shared.events.replies import ReplyFailed
from shared.events.topics import API_KEYS_STATE
from shared.ids import ApiKeyHash, hash_api_key, new_id
from shared.money import NANO_PER_USD
from tests.integration.ingress.conftest import MODEL, Account, World, make_account, running
from tests.integration.ingress.scripted_dispatcher import Run
from tests.support.wait_until import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

EFFECT_SECONDS_MAX = 1.0
FIELDS = {
    *("hash", "name", "label", "disabled", "byok_only", "limit", "limit_remaining", "limit_reset"),
    *("include_byok_in_limit", "usage", "usage_daily", "usage_weekly", "usage_monthly"),
    *("byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly"),
    *("created_at", "updated_at", "expires_at", "last_used_at", "creator_user_id"),
    *("external_user", "workspace_id"),
}


async def call(
    world: World, account: Account, method: str, path: str, body: Any = None
) -> tuple[int, Any]:
    """Ask as the account's manager; amounts come as Decimal."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    async with world.http.request(
        method, f"{world.base_url}{path}", data=data, headers=account.management_headers
    ) as response:
        return response.status, json.loads(await response.text(), parse_float=Decimal)


async def make_key(world: World, account: Account, **form: Any) -> tuple[str, str]:
    """A new key and its hash."""
    status, body = await call(world, account, "POST", "/keys", {"name": "made"} | form)
    assert status == 201, body
    return body["key"], body["data"]["hash"]


async def status_of(world: World, key: str, base_url: str | None = None) -> int:
    """What the door says to a key."""
    url = f"{base_url or world.base_url}/key"
    async with world.http.get(url, headers={"Authorization": f"Bearer {key}"}) as response:
        return response.status


async def requested_with(world: World, key: str) -> Any:
    """The event of a completion that the key asks for."""
    seen = len(world.dispatcher.requests)

    async def answer(run: Run) -> None:
        await run.send(ReplyFailed(status=404, message="x", error_type="not_found"), last=True)

    world.dispatcher.script = answer
    async with world.http.post(
        f"{world.base_url}/chat/completions",
        json={"model": MODEL, "messages": [{"role": "user", "content": "hi"}]},
        headers={"Authorization": f"Bearer {key}"},
    ) as response:
        assert response.status == 404, await response.text()
    (request,) = world.dispatcher.requests[seen:]
    return request


@asynccontextmanager
async def rows(world: World) -> AsyncIterator[asyncpg.Connection]:
    """Ingress' own database."""
    connection = await asyncpg.connect(world.config.postgres.url.reveal())
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_key_is_made_and_its_secret_is_shown_this_once(world: World) -> None:
    account = await make_account(world.operations, "keys")
    form = (
        b'{"name": "ci", "limit": 12.345678901, "limit_reset": "weekly",'
        b' "include_byok_in_limit": true, "expires_at": "2099-01-01T00:00:00Z"}'
    )
    async with world.http.post(
        f"{world.base_url}/keys", data=form, headers=account.management_headers
    ) as response:
        assert response.status == 201
        assert response.headers["Cache-Control"] == "no-store"
        made = json.loads(await response.text(), parse_float=Decimal)
    key, data = made["key"], made["data"]
    assert made.keys() == {"data", "key"}
    assert data.keys() == FIELDS
    assert data["hash"] == hash_api_key(key)
    assert data["label"] == f"{key[:12]}...{key[-3:]}"
    assert (data["name"], data["disabled"], data["byok_only"]) == ("ci", False, False)
    assert data["limit"] == data["limit_remaining"] == Decimal("12.345678901")
    assert (data["limit_reset"], data["include_byok_in_limit"]) == ("weekly", True)
    assert (data["expires_at"], data["updated_at"]) == ("2099-01-01T00:00:00Z", None)
    assert (data["usage"], data["byok_usage_daily"], data["last_used_at"]) == (0, 0, None)
    assert data["creator_user_id"] is not None
    assert await status_of(world, key) == 200
    assert (await requested_with(world, key)).api_key_limit_counts_byok is True
    assert (await requested_with(world, account.api_key)).api_key_limit_counts_byok is False
    for path in ("/keys", f"/keys/{data['hash']}"):
        status, shown = await call(world, account, "GET", path)
        assert status == 200
        assert key not in json.dumps(shown, default=str)
    async with rows(world) as database:
        row = await database.fetchrow("select * from api_keys where hash = $1", data["hash"])
    assert row is not None
    assert row["limit_nano_usd"] == 12_345_678_901
    assert key not in str(dict(row))


async def test_a_key_made_here_never_administers(world: World) -> None:
    key, _ = await make_key(world, world.account)
    headers = {"Authorization": f"Bearer {key}"}
    async with world.http.get(f"{world.base_url}/keys", headers=headers) as response:
        assert response.status == 403


async def test_what_a_key_spent_and_what_is_left_of_its_window(world: World) -> None:
    account = await make_account(world.operations, "spender")
    key, key_hash = await make_key(world, account, limit=1, limit_reset="daily")
    world.books.spent[ApiKeyHash(key_hash)] = KeySpending(
        api_key_hash=ApiKeyHash(key_hash),
        spending=Spending(
            day=SpendingPeriod(credits_nano_usd=250_000_001, byok_list_cost_nano_usd=600_000_000),
            week=SpendingPeriod(credits_nano_usd=400_000_000, byok_list_cost_nano_usd=0),
            month=SpendingPeriod(credits_nano_usd=500_000_000, byok_list_cost_nano_usd=0),
            total=SpendingPeriod(credits_nano_usd=3_000_000_000, byok_list_cost_nano_usd=9),
        ),
        last_day=date(2026, 3, 4),
    )

    async def left() -> tuple[Decimal | None, Any]:
        """As the account and as the key itself see it."""
        _, body = await call(world, account, "GET", f"/keys/{key_hash}")
        headers = {"Authorization": f"Bearer {key}"}
        async with world.http.get(f"{world.base_url}/key", headers=headers) as response:
            own = json.loads(await response.text(), parse_float=Decimal)["data"]
        same = ("limit", "limit_remaining", "limit_reset", "include_byok_in_limit", "usage_weekly")
        assert {name: own[name] for name in same} == {name: body["data"][name] for name in same}
        if own["limit"] is not None:
            assert own["budgets"] == [own["effective_budget"]]
            assert own["effective_budget"]["remaining_usd"] == own["limit_remaining"]
            assert own["effective_budget"]["reset_interval"] == own["limit_reset"]
        else:
            assert (own["budgets"], own["effective_budget"]) == ([], None)
        return body["data"]["limit_remaining"], body["data"]

    remaining, data = await left()
    assert remaining == Decimal("0.749999999")
    assert data["usage"] == 3
    assert data["usage_daily"] == Decimal("0.250000001")
    assert data["byok_usage"] == Decimal("0.000000009")
    assert data["last_used_at"] == "2026-03-04T00:00:00Z"
    for changes, expected in (
        ({"include_byok_in_limit": True}, Decimal("0.149999999")),
        ({"limit_reset": "weekly"}, Decimal("0.6")),
        ({"limit_reset": None}, Decimal("-2.000000009")),
        ({"limit": 4}, Decimal("0.999999991")),
        ({"limit": None}, None),
    ):
        assert (await call(world, account, "PATCH", f"/keys/{key_hash}", changes))[0] == 200
        assert (await left())[0] == expected


async def test_a_page_holds_a_hundred_keys_and_costs_one_question(world: World) -> None:
    account = await make_account(world.operations, "many")
    async with rows(world) as database:
        await database.executemany(
            "insert into api_keys (hash, account_id, label, name, created_at) "
            "values ($1, $2, 'l', $3, clock_timestamp())",
            [
                (hash_api_key(f"{account.account_id}-{number}"), account.account_id, f"k{number}")
                for number in range(104)
            ],
        )
    asked = len(world.books.spending_asked)
    status, first = await call(world, account, "GET", "/keys")
    assert (status, len(first["data"]), first["total_count"]) == (200, 100, 105)
    assert len(world.books.spending_asked) == asked + 1
    _, second = await call(world, account, "GET", "/keys?offset=100")
    names = [each["name"] for each in first["data"] + second["data"]]
    assert names == ["default", *(f"k{number}" for number in range(104))]
    assert await call(world, account, "GET", "/keys?offset=200") == (
        200,
        {"data": [], "total_count": 105},
    )
    assert len(world.books.spending_asked) == asked + 2


async def test_disabled_and_expired_keys_are_listed_only_when_asked_for(world: World) -> None:
    account = await make_account(world.operations, "left out")
    _, off = await make_key(world, account, name="off")
    _, past = await make_key(world, account, name="past", expires_at="2099-01-01T00:00:00Z")
    await call(world, account, "PATCH", f"/keys/{off}", {"disabled": True})
    async with rows(world) as database:
        await database.execute(
            "update api_keys set expires_at = clock_timestamp() where hash = $1", past
        )
    for query, names in (
        ("", ["default"]),
        ("?include_disabled=true", ["default", "off"]),
        ("?include_expired=true", ["default", "past"]),
        ("?include_disabled=true&include_expired=true", ["default", "off", "past"]),
        ("?include_disabled=false&offset=1", []),
    ):
        status, body = await call(world, account, "GET", f"/keys{query}")
        assert (status, [each["name"] for each in body["data"]]) == (200, names)
    for query in ("include_disabled=maybe", "include_expired=2", "offset=-1", "workspace_id=w"):
        status, body = await call(world, account, "GET", f"/keys?{query}")
        assert status == 400
        assert body["error"]["metadata"]["field"] == query.partition("=")[0]


async def test_what_is_left_out_of_a_change_stays(world: World) -> None:
    account = await make_account(world.operations, "changing")
    _, key_hash = await make_key(
        world, account, name="old", limit=5, limit_reset="monthly", include_byok_in_limit=True
    )
    path = f"/keys/{key_hash}"
    _, before = await call(world, account, "GET", path)
    assert await call(world, account, "PATCH", path, {}) == (200, before)
    status, body = await call(world, account, "PATCH", path, {"name": "new", "byok_only": True})
    assert status == 200
    changed = body["data"]
    assert datetime.fromisoformat(changed["updated_at"]) > datetime.fromisoformat(
        changed["created_at"]
    )
    expected = before["data"] | {"name": "new", "byok_only": True}
    assert changed == expected | {"updated_at": changed["updated_at"]}
    status, body = await call(world, account, "PATCH", path, {"limit": None})
    assert (body["data"]["limit"], body["data"]["limit_remaining"]) == (None, None)
    assert (body["data"]["limit_reset"], body["data"]["name"]) == ("monthly", "new")


async def test_a_request_right_after_a_change_tells_of_the_limit_as_it_is_now(world: World) -> None:
    account = await make_account(world.operations, "at once")
    assert (await requested_with(world, account.api_key)).api_key_limit is None
    key, key_hash = await make_key(
        world, account, limit=0.01, limit_reset="daily", include_byok_in_limit=True
    )
    made = ApiKeyLimit(version=1, limit_nano_usd=10_000_000, limit_reset="daily", include_byok=True)
    assert (await requested_with(world, key)).api_key_limit == made
    path = f"/keys/{key_hash}"
    for version, limit in ((2, 5), (3, None), (4, 0)):
        assert (await call(world, account, "PATCH", path, {"limit": limit}))[0] == 200
        told = (await requested_with(world, key)).api_key_limit
        assert told == ApiKeyLimit(
            version=version,
            limit_nano_usd=None if limit is None else limit * NANO_PER_USD,
            limit_reset="daily",
            include_byok=True,
        )
    # a key that never had a limit tells of none, whatever else changes
    other, other_hash = await make_key(world, account)
    await call(world, account, "PATCH", f"/keys/{other_hash}", {"name": "renamed"})
    assert (await requested_with(world, other)).api_key_limit is None


async def test_each_change_is_told_to_billing_and_to_the_other_processes(world: World) -> None:
    account = await make_account(world.operations, "told")
    async with tap(world.config.kafka, [API_KEYS_STATE]) as events:
        _, key_hash = await make_key(
            world,
            account,
            limit=2.5,
            limit_reset="daily",
            include_byok_in_limit=True,
            expires_at="2099-01-01T01:00:00.5+01:00",
        )
        path = f"/keys/{key_hash}"
        await call(world, account, "PATCH", path, {"disabled": True, "byok_only": True})
        await call(world, account, "PATCH", path, {"disabled": False, "limit": None})
        await call(world, account, "DELETE", path)
        told: list[ApiKeyChanged] = []
        for version in (1, 2, 3, 4):
            received = await events.wait_for(
                lambda each, version=version: (  # type: ignore[misc]
                    isinstance(each.event, ApiKeyChanged)
                    and (each.event.api_key_hash, each.event.version) == (key_hash, version)
                )
            )
            assert isinstance(received.event, ApiKeyChanged)
            told.append(received.event)
    assert told[0] == ApiKeyChanged(
        version=1,
        api_key_hash=ApiKeyHash(key_hash),
        account_id=account.account_id,
        limit_nano_usd=2_500_000_000,
        limit_reset="daily",
        include_byok_in_limit=True,
        expires_at="2099-01-01T00:00:00.500000Z",
    )
    assert [each.disabled for each in told] == [False, True, False, True]
    assert [each.deleted for each in told] == [False, False, False, True]
    assert [each.byok_only for each in told] == [False, True, True, True]
    assert [each.limit_nano_usd for each in told] == [2_500_000_000, 2_500_000_000, None, None]


@pytest.mark.parametrize("end", ["disable", "delete"])
async def test_a_key_that_is_taken_out_of_use_stops_at_once_everywhere(
    world: World, end: str
) -> None:
    account = await make_account(world.operations, end)
    key, key_hash = await make_key(world, account)
    path = f"/keys/{key_hash}"
    config = replace(world.config, process=replace(world.config.process, instance_ordinal=1))
    async with running(config) as (other, _):
        elsewhere = f"http://127.0.0.1:{other.port}/api/v1"
        assert await status_of(world, key) == 200
        assert await status_of(world, key, elsewhere) == 200  # both remember it now
        if end == "disable":
            status, body = await call(world, account, "PATCH", path, {"disabled": True})
            assert (status, body["data"]["disabled"]) == (200, True)
        else:
            assert await call(world, account, "DELETE", path) == (200, {"deleted": True})
        assert await status_of(world, key) == 401

        async def is_refused() -> bool:
            return await status_of(world, key, elsewhere) == 401

        await wait_until(is_refused, deadline_seconds=EFFECT_SECONDS_MAX)
    if end == "disable":
        assert (await call(world, account, "PATCH", path, {"disabled": False}))[0] == 200
        assert await status_of(world, key) == 200
        return
    for method, sent in (("GET", None), ("PATCH", {"disabled": False}), ("DELETE", None)):
        status, body = await call(world, account, method, path, sent)
        assert (status, body["error"]["code"]) == (404, 404)
    assert await status_of(world, key) == 401
    async with rows(world) as database:
        row = await database.fetchrow("select * from api_keys where hash = $1", key_hash)
    assert row is not None
    assert row["deleted_at"] is not None
    async with open_connections(world.operations) as connections:
        with pytest.raises(BadInput, match="no API key of this hash"):
            await api_keys.change_policy(connections, key_hash, byok_only=True)


async def test_a_key_expires_at_its_moment_though_it_is_remembered(world: World) -> None:
    account = await make_account(world.operations, "expiring")
    expires_at = SystemClock().now() + timedelta(seconds=3)
    key, key_hash = await make_key(world, account, expires_at=expires_at.isoformat())
    headers = {"Authorization": f"Bearer {key}"}
    body: Any = None

    async def is_refused() -> bool:
        nonlocal body
        asked_at = SystemClock().now()
        async with world.http.get(f"{world.base_url}/key", headers=headers) as response:
            body = await response.json()
        answered_at = SystemClock().now()
        if response.status == 200:
            assert asked_at < expires_at
            assert datetime.fromisoformat(body["data"]["expires_at"]) == expires_at
            return False
        assert (response.status, answered_at >= expires_at) == (401, True)
        return True

    assert not await is_refused()
    await wait_until(is_refused, deadline_seconds=10)
    shown = expires_at.isoformat().replace("+00:00", "Z")
    assert body["error"]["message"] == f"The API key expired at {shown}"
    for path, field in (
        (f"/byok/plan?model={MODEL}&api_key_hash={key_hash}", "api_key_hash"),
        ("/byok", "allowed_api_key_hashes[0]"),
    ):
        sent = {"provider": "openai", "key": "k", "allowed_api_key_hashes": [key_hash]}
        method, form = ("GET", None) if "plan" in path else ("POST", sent)
        status, answer = await call(world, account, method, path, form)
        assert (status, answer["error"]["metadata"]["field"]) == (400, field)


async def test_a_deleted_key_can_no_longer_be_named_by_a_filter(world: World) -> None:
    account = await make_account(world.operations, "filters")
    _, key_hash = await make_key(world, account)
    form = {"provider": "openai", "key": "k", "allowed_api_key_hashes": [key_hash]}
    status, kept = await call(world, account, "POST", "/byok", form)
    assert status == 201
    await call(world, account, "DELETE", f"/keys/{key_hash}")
    status, body = await call(world, account, "GET", f"/byok/{kept['data']['id']}")
    assert (status, body["data"]["allowed_api_key_hashes"]) == (200, [key_hash])
    status, body = await call(world, account, "POST", "/byok", form)
    assert (status, body["error"]["metadata"]["field"]) == (400, "allowed_api_key_hashes[0]")


async def test_byok_only_of_a_key_governs_its_next_request(world: World) -> None:
    account = await make_account(world.operations, "off credits")
    key, key_hash = await make_key(world, account, byok_only=True)
    assert (await requested_with(world, key)).byok_only is True
    await call(world, account, "PATCH", f"/keys/{key_hash}", {"byok_only": False})
    assert (await requested_with(world, key)).byok_only is False


async def test_a_key_is_disabled_though_billing_cannot_say_what_it_spent(world: World) -> None:
    account = await make_account(world.operations, "billing away")
    key, key_hash = await make_key(world, account)
    path = f"/keys/{key_hash}"
    assert await status_of(world, key) == 200
    world.books.knows_spending = False
    try:
        assert (await call(world, account, "PATCH", path, {"disabled": True}))[0] == 503
        assert await status_of(world, key) == 401
        assert (await call(world, account, "GET", "/keys"))[0] == 503
        _, other = await make_key(world, account)
        assert await call(world, account, "DELETE", f"/keys/{other}") == (200, {"deleted": True})
    finally:
        world.books.knows_spending = True
    status, body = await call(world, account, "GET", path)
    assert (status, body["data"]["disabled"]) == (200, True)


async def test_another_accounts_keys_and_management_keys_are_not_there(world: World) -> None:
    account = await make_account(world.operations, "one")
    other = await make_account(world.operations, "other")
    key, theirs = await make_key(world, other)
    for each in (
        theirs,
        hash_api_key(account.management_key),
        hash_api_key(new_id()),
        *("x", "%00", "A" * 64, "g" * 64, "0" * 63, "0" * 65),
    ):
        for method, sent in (("GET", None), ("PATCH", {"disabled": True}), ("DELETE", None)):
            status, body = await call(world, account, method, f"/keys/{each}", sent)
            assert (status, body["error"]["metadata"]["error_type"]) == (404, "not_found")
    assert await status_of(world, key) == 200
    assert await status_of(world, account.management_key) == 200
    _, body = await call(world, account, "GET", "/keys?include_disabled=true")
    assert [each["name"] for each in body["data"]] == ["default"]


ROUTES = (
    ("GET", "/keys"),
    ("POST", "/keys"),
    ("GET", f"/keys/{'0' * 64}"),
    ("PATCH", f"/keys/{'0' * 64}"),
    ("DELETE", f"/keys/{'0' * 64}"),
)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_a_management_key_is_needed_everywhere(world: World, method: str, path: str) -> None:
    for headers, status, error_type in (
        (world.account.headers, 403, "permission_denied"),
        ({}, 401, "authentication"),
        ({"Authorization": f"Bearer sk-or-v1-{'0' * 64}"}, 401, "authentication"),
    ):
        url = f"{world.base_url}{path}"
        async with world.http.request(method, url, json={}, headers=headers) as response:
            error = (await response.json())["error"]
        assert (response.status, error["metadata"]["error_type"]) == (status, error_type)


async def test_a_form_that_is_wrong_makes_and_changes_nothing(world: World) -> None:
    account = await make_account(world.operations, "wrong forms")
    _, key_hash = await make_key(world, account)
    path = f"/keys/{key_hash}"
    _, before = await call(world, account, "GET", "/keys?include_disabled=true")
    for body, field in (
        (b'{"name": "n", "limit": "5"}', "limit"),
        (b'{"name": "n", "limit": -0.01}', "limit"),
        (b'{"name": "n", "limit": 0.0000000001}', "limit"),
        (b'{"name": "n", "limit": ' + b"9" * 5000 + b"}", "limit"),
        (b'{"name": "n", "limit_reset": "hourly"}', "limit_reset"),
        (b'{"name": "n", "management": true}', "management"),
    ):
        for method, where in (("POST", "/keys"), ("PATCH", path)):
            status, answer = await call(world, account, method, where, body)
            assert (status, answer["error"]["metadata"]["field"]) == (400, field)
    past = b'{"name": "n", "expires_at": "2020-01-01T00:00:00Z"}'
    status, answer = await call(world, account, "POST", "/keys", past)
    assert (status, answer["error"]["message"]) == (400, "expires_at: is in the past")
    for creator in (new_id(), "x", "%00"):
        form = {"name": "n", "creator_user_id": creator}
        status, answer = await call(world, account, "POST", "/keys", form)
        assert (status, answer["error"]["metadata"]["field"]) == (400, "creator_user_id")
    for nonsense in (b"", b"[]", b"null", b"{", b'"x"'):
        assert (await call(world, account, "POST", "/keys", nonsense))[0] == 400
    assert (await call(world, account, "GET", "/keys?include_disabled=true"))[1] == before


async def test_a_key_may_be_another_members_of_the_account(world: World) -> None:
    account = await make_account(world.operations, "team")
    member = new_id()
    async with rows(world) as database:
        await database.execute(
            "insert into members (id, account_id, role) values ($1, $2, 'member')",
            member,
            account.account_id,
        )
    key, key_hash = await make_key(world, account, creator_user_id=member)
    _, body = await call(world, account, "GET", f"/keys/{key_hash}")
    assert body["data"]["creator_user_id"] == member
    assert (await requested_with(world, key)).member_id == member


async def test_an_account_has_as_many_keys_as_may_be_and_not_one_more(world: World) -> None:
    account = await make_account(world.operations, "full")
    async with rows(world) as database:
        await database.executemany(
            "insert into api_keys (hash, account_id, label, name) values ($1, $2, 'l', 'n')",
            [
                (hash_api_key(f"{account.account_id}-{number}"), account.account_id)
                for number in range(KEYS_MAX - 2)  # and the one that it began with
            ],
        )
    answers = await asyncio.gather(
        *(call(world, account, "POST", "/keys", {"name": "last"}) for _ in range(8))
    )
    assert sorted(status for status, _ in answers) == [201] + [400] * 7
    refused = next(body for status, body in answers if status == 400)
    assert f"this account has {KEYS_MAX} API keys" in refused["error"]["message"]
    made = next(body for status, body in answers if status == 201)
    await call(world, account, "DELETE", f"/keys/{made['data']['hash']}")
    await make_key(world, account)
