"""Whether the books say what the provider's call log and the clients say, worked out anew."""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import asyncpg

from deploy.product import Product
from shared.money import NANO_PER_USD
from tests.chaos.billing.load import FREE_REQUESTS, Load, Outcome, Owner, prompt_tokens_of
from tests.integration.billing.reconcile.running import run_operation

PROMPT_PRICE: Final = Decimal("0.00000015")
COMPLETION_PRICE: Final = Decimal("0.0000006")
FEE: Final = Decimal("0.05")
_QUIET_SECONDS_MAX: Final = 120.0
_QUIET_PAUSE_SECONDS: Final = 2.0
_BOOKED: Final = """
select generations.generation_id, generations.account_id, generations.kind, list_cost_nano_usd,
       collected_nano_usd, uncollected_nano_usd, abandonments.kind = 'abandoned' as is_reversed
from generations left join abandonments
  on abandonments.generation_id = generations.generation_id and abandonments.kind = 'abandoned'
"""
_BALANCES: Final = "select account_id, available_nano_usd + held_nano_usd as credits from accounts"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A posting as far as it counts: nothing when it was reversed."""

    account_id: str
    kind: str
    list_cost: int
    charge: int
    uncollected: int

    @property
    def is_charge(self) -> bool:
        """Whether it says that the generation was delivered."""
        return self.kind != "nothing"


async def reconciled_when_quiet(product: Product) -> Any:
    """`make reconcile`, again and again until nothing is in flight; its JSON."""
    end = time.monotonic() + _QUIET_SECONDS_MAX
    environment = product.stack.service_environment("billing")
    while True:
        _, output, errors = await run_operation(environment, "reconcile")
        if not output:
            raise SystemExit(f"reconcile: {errors}")
        lines = output.splitlines()
        report = json.loads(lines[-1])
        if not any(report["in_flight"].values()) or time.monotonic() > end:
            sys.stdout.writelines(f"{line}\n" for line in lines[:-1])
            return report
        await asyncio.sleep(_QUIET_PAUSE_SECONDS)


async def verdict(product: Product, load: Load) -> list[str]:
    """What differs, one line each."""
    calls = await _calls(product, load.owners)
    booked, balances = await _books(product)
    found = [
        f"tokens {tokens}: the provider was called {count} times"
        for tokens, count in Counter(
            _prompt_tokens(call) for call in calls if call["usage"]
        ).items()
        if count > 1
    ]
    usages = {_prompt_tokens(call): call["usage"] for call in calls if call["usage"]}
    spent: Counter[str] = Counter()
    waived: Counter[str] = Counter()
    for outcome in load.outcomes:
        row = booked.pop(outcome.generation_id or "", None)
        found += _compare(outcome, row, usages)
        if row is not None and outcome.answered:
            spent[row.account_id] += row.charge - row.uncollected
            waived[row.account_id] += row.kind == "fee_waived"
    found += [
        f"generation {generation_id}: booked as {row.kind}, of which no client knows"
        for generation_id, row in booked.items()
        if row.is_charge
    ]
    for owner in load.owners:
        account_id = owner.account.account_id
        expected = owner.credits - spent[account_id]
        if balances.get(account_id) != expected:
            found.append(f"account {account_id}: has {balances.get(account_id)}, not {expected}")
        if waived[account_id] > FREE_REQUESTS:
            found.append(f"account {account_id}: {waived[account_id]} waived of {FREE_REQUESTS}")
    return found


def _prompt_tokens(call: Any) -> int:
    return int(call["usage"]["prompt_tokens"])


def _compare(outcome: Outcome, row: _Row | None, usages: Mapping[int, Any]) -> list[str]:
    name = f"request {outcome.number}, generation {outcome.generation_id}"
    if not outcome.answered:
        if row is not None and row.is_charge:
            return [f"{name}: {outcome.why}, but booked as {row.kind}"]
        return []
    usage = usages.get(prompt_tokens_of(outcome.number))
    if row is None or usage is None:
        return [f"{name}: answered, but booked {row}, the provider says {usage}"]
    exact = (
        usage["prompt_tokens"] * PROMPT_PRICE + usage["completion_tokens"] * COMPLETION_PRICE
    ) * NANO_PER_USD
    list_cost = exact.quantize(Decimal(1), rounding=ROUND_HALF_UP)
    if outcome.owner.secret is None:
        kind, charge = "credits_charged", list_cost
    elif row.kind == "fee_waived":
        kind, charge = "fee_waived", Decimal(0)
    else:
        kind = "fee_deducted"
        charge = (exact * FEE).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    kept = (row.kind, row.list_cost, row.charge)
    if kept != (kind, list_cost, charge):
        return [f"{name}: booked {kept}, should be {(kind, list_cost, charge)}"]
    return []


async def _calls(product: Product, owners: list[Owner]) -> list[Any]:
    credentials = ["sk-platform-openai", *(each.secret for each in owners if each.secret)]
    return [call for each in credentials for call in await product.provider_calls(each)]


async def _books(product: Product) -> tuple[dict[str, _Row], dict[str, int]]:
    database = await asyncpg.connect(product.stack.manifest["postgres"]["billing"])
    try:
        booked = {row["generation_id"]: _row(row) for row in await database.fetch(_BOOKED)}
        balances = {
            row["account_id"]: int(row["credits"]) for row in await database.fetch(_BALANCES)
        }
    finally:
        await database.close()
    return booked, balances


def _row(row: Any) -> _Row:
    if row["is_reversed"]:
        return _Row(
            account_id=row["account_id"], kind="nothing", list_cost=0, charge=0, uncollected=0
        )
    return _Row(
        account_id=row["account_id"],
        kind=row["kind"],
        list_cost=int(row["list_cost_nano_usd"]),
        charge=int(row["collected_nano_usd"] + row["uncollected_nano_usd"]),
        uncollected=int(row["uncollected_nano_usd"]),
    )
