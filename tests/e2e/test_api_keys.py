"""API keys as an account lives with them: made, used, counted, taken away."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from deploy.product import Account, Product
from shared.clock import SystemClock
from shared.ids import hash_api_key
from tests.support.wait_until import wait_until

pytestmark = [pytest.mark.connected, pytest.mark.slow, pytest.mark.timeout(120)]

EFFECT_SECONDS_MAX: Final = 1.0
BOOKED_SECONDS_MAX: Final = 10.0


async def make_key(product: Product, account: Account, **form: Any) -> Account:
    """The account as it is with a new key of its own."""
    answer = await product.request("POST", "/keys", key=account.management_key, body=form)
    assert answer.status == 201, answer.text
    return replace(account, api_key=answer.json["key"])


async def described(product: Product, user: Account) -> Any:
    """What the account is told of the key that `user` has."""
    path = f"/keys/{hash_api_key(user.api_key)}"
    answer = await product.request("GET", path, key=user.management_key)
    assert answer.status == 200, answer.text
    return answer.json["data"]


async def test_a_key_counts_what_it_is_used_for_by_itself(product: Product) -> None:
    account = await product.make_account()
    await product.add_credential(account, key=f"sk-{account.account_id}", always_use=True)
    one = await make_key(product, account, name="one", limit=1, include_byok_in_limit=True)
    two = await make_key(product, account, name="two")
    answer = await product.complete(one)
    assert answer.status == 200, answer.text
    list_cost = Decimal(str(answer.usage["cost_details"]["upstream_inference_cost"]))
    assert list_cost > 0

    async def is_booked() -> bool:
        return bool((await described(product, one))["byok_usage"])

    await wait_until(is_booked, deadline_seconds=BOOKED_SECONDS_MAX)
    used, unused = await described(product, one), await described(product, two)
    for period in ("byok_usage", "byok_usage_daily", "byok_usage_weekly", "byok_usage_monthly"):
        assert Decimal(str(used[period])) == list_cost
        assert unused[period] == 0
    assert Decimal(str(used["limit_remaining"])) == 1 - list_cost
    assert used["last_used_at"] is not None
    assert unused["last_used_at"] is None
    own = (await product.request("GET", "/key", key=one.api_key)).json["data"]
    assert own["limit_remaining"] == used["limit_remaining"]
    listed = await product.request("GET", "/keys", key=account.management_key)
    assert listed.json["total_count"] == 3
    assert used in listed.json["data"]
    assert unused in listed.json["data"]


async def test_a_key_completes_until_it_is_disabled_or_deleted(product: Product) -> None:
    account = await product.make_account()
    await product.add_credential(account, key=f"sk-{account.account_id}", always_use=True)
    for method, body in (("PATCH", {"disabled": True}), ("DELETE", None)):
        user = await make_key(product, account, name=method)
        assert (await product.complete(user)).status == 200
        path = f"/keys/{hash_api_key(user.api_key)}"
        answer = await product.request(method, path, key=account.management_key, body=body)
        assert answer.status == 200, answer.text

        async def is_refused(user: Account = user) -> bool:
            return (await product.complete(user)).status == 401

        await wait_until(is_refused, deadline_seconds=EFFECT_SECONDS_MAX)
    assert (await product.complete(account)).status == 200


async def test_a_credential_for_a_key_that_was_deleted_serves_nobody(product: Product) -> None:
    account = await product.make_account()
    user = await make_key(product, account, name="named")
    kept = await product.add_credential(
        account,
        key=f"sk-{account.account_id}",
        always_use=True,
        allowed_api_key_hashes=[hash_api_key(user.api_key)],
    )
    assert (await product.complete(user)).status == 200
    path = f"/keys/{hash_api_key(user.api_key)}"
    assert (await product.request("DELETE", path, key=account.management_key)).status == 200
    answer = await product.request("GET", f"/byok/{kept['id']}", key=account.management_key)
    assert answer.json["data"]["allowed_api_key_hashes"] == [hash_api_key(user.api_key)]
    assert (await product.complete(account)).status >= 400
    assert len(await product.provider_calls(f"sk-{account.account_id}")) == 1


async def test_a_key_completes_until_the_moment_it_expires(product: Product) -> None:
    account = await product.make_account()
    await product.add_credential(account, key=f"sk-{account.account_id}", always_use=True)
    expires_at = SystemClock().now() + timedelta(seconds=4)
    user = await make_key(product, account, name="brief", expires_at=expires_at.isoformat())
    assert (await product.complete(user)).status == 200

    async def is_refused() -> bool:
        answer = await product.complete(user)
        is_late = SystemClock().now() >= expires_at
        assert answer.status in ({200, 401} if is_late else {200})
        return answer.status == 401 and "expired at" in answer.json["error"]["message"]

    await wait_until(is_refused, deadline_seconds=15)
