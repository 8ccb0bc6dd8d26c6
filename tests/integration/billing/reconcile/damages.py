# ruff: noqa: S608, ISC004 - ids of our own making; long statements in lists
"""Ways to damage the books, each with what must be said of it."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

import asyncpg

from shared.ids import new_generation_id
from tests.integration.billing.reconcile.conftest import Story
from tests.unit.billing.made import LIST_COST

Damage: TypeAlias = Callable[[Story], tuple[list[str], list[str]]]
"""For a story: statements, and parts of the lines that name their damage."""

_TABLES = (
    "accounts",
    "allotments",
    "transfers",
    "generations",
    "abandonments",
    "holds",
    "hold_endings",
    "credit_movements",
    "inbox",
    "outbox_dirty",
)
_MADE_UP = new_generation_id()


def _generations(change: str, generation_id: str) -> str:
    return f"update generations set {change} where generation_id = '{generation_id}'"


DAMAGES: Mapping[str, Damage] = {
    "a posting deleted": lambda story: (
        [f"delete from generations where generation_id = '{story.charged}'"],
        [
            f"fact-not-booked: generation {story.charged} of account {story.account}",
            f"told-not-booked: generation {story.charged}",
            f"wrong-transfers: generation {story.charged}",
            "posting that ended it: is 0, should be 1",
        ],
    ),
    "a charge changed": lambda story: (
        [_generations("collected_nano_usd = collected_nano_usd + 1", story.charged)],
        [
            f"wrong-amount: generation {story.charged} of account {story.account}: "
            f"charge: is {LIST_COST + 1}, should be {LIST_COST}",
            f"wrong-transfers: generation {story.charged}",
            f"told-wrongly: generation {story.charged}",
        ],
    ),
    "a fee changed in books and transfers alike": lambda story: (
        [
            _generations("collected_nano_usd = 7500001", story.charged),
            "update transfers set amount_nano_usd = amount_nano_usd + 1 "
            f"where generation_id = '{story.charged}' and kind in ('paid_from_hold', 'revenue')",
        ],
        [f"wrong-amount: generation {story.charged}", "wrong-hold:", "wrong-counter: account "],
    ),
    "a list cost changed": lambda story: (
        [_generations("list_cost_nano_usd = 1", story.waived)],
        [f"list cost: is 1, should be {LIST_COST}"],
    ),
    "a kind changed": lambda story: (
        [_generations("kind = 'fee_deducted'", story.waived)],
        ["kind: is fee_deducted, should be fee_waived", "not-told: ", "told-not-booked: "],
    ),
    "what was charged called nothing": lambda story: (
        [_generations("kind = 'nothing', collected_nano_usd = 0", story.charged)],
        ["posting of nothing for the fact at partition"],
    ),
    "a transfer changed": lambda story: (
        [
            "update transfers set amount_nano_usd = amount_nano_usd + 5 "
            f"where transfer_id = '{story.charged}/revenue'"
        ],
        [
            f"transfers revenue: is {LIST_COST + 5}, should be {LIST_COST}",
            "unbalanced: ledger: clearing account: is -5, should be 0",
        ],
    ),
    "a transfer deleted": lambda story: (
        [f"delete from transfers where transfer_id = '{story.hold}/returned'"],
        [f"wrong-hold: generation {story.charged}", "wrong-counter: account "],
    ),
    "a transfer led elsewhere": lambda story: (
        [
            f"update transfers set credit = 'cash_in' where transfer_id = '{story.charged}/revenue'",
        ],
        ["is clearing to cash_in, should be clearing to revenue_inference"],
    ),
    "a posting without a fact": lambda story: (
        [
            "create table more as "
            f"select * from generations where generation_id = '{story.charged}'",
            f"update more set generation_id = '{_MADE_UP}'",
            "insert into generations select * from more",
            "drop table more",
        ],
        [f"booking-without-fact: generation {_MADE_UP}", f"not-told: generation {_MADE_UP}"],
    ),
    "a counter changed": lambda story: (
        [
            "update accounts set available_nano_usd = available_nano_usd + 1 "
            f"where account_id = '{story.account}'"
        ],
        [
            f"wrong-counter: account {story.account}: available_nano_usd",
            f"wrong-state: account {story.account}: published credits",
        ],
    ),
    "a state that was not published": lambda story: (
        [f"update accounts set version = version + 1 where account_id = '{story.account}'"],
        [f"wrong-state: account {story.account}: published version"],
    ),
    "an account nobody was told of": lambda _: (
        ["insert into accounts (account_id, version) values ('untold', 3)"],
        ["wrong-state: account untold: state: is unpublished, should be 3"],
    ),
    "an allotment changed": lambda story: (
        [f"update allotments set used = used + 1 where account_id = '{story.account}'"],
        ["allotment_used", "published allotment used"],
    ),
    "an allotment by list cost changed": lambda story: (
        [
            "update allotments set list_cost_used_nano_usd = list_cost_used_nano_usd + 1 "
            f"where account_id = '{story.account}'"
        ],
        [
            f"wrong-counter: account {story.account}: allotment_list_cost_used_nano_usd of 20",
            f": is {LIST_COST + 1}, should be {LIST_COST}",
            f"wrong-state: account {story.account}: published list cost used of 20",
        ],
    ),
    "what is reserved by list cost changed": lambda story: (
        [
            "update allotments set list_cost_reserved_nano_usd = 1 "
            f"where account_id = '{story.account}'"
        ],
        [
            f"wrong-counter: account {story.account}: allotment_list_cost_reserved_nano_usd of 20",
            f"wrong-state: account {story.account}: published list cost used of 20",
        ],
    ),
    "an allotment used in another month": lambda story: (
        [
            "insert into allotments (account_id, month, used, list_cost_used_nano_usd) "
            "select account_id, '2001-01', used, list_cost_used_nano_usd from allotments "
            f"where account_id = '{story.account}'",
            "update allotments set used = 0, list_cost_used_nano_usd = 0 "
            f"where account_id = '{story.account}' and month <> '2001-01'",
        ],
        [
            f"account {story.account}: allotment_used of 2001-01: is 2, should be 0",
            f"allotment_list_cost_used_nano_usd of 2001-01: is {LIST_COST}, should be 0",
            f": is 0, should be {LIST_COST}",
        ],
    ),
    "an allotment deleted": lambda story: (
        [f"delete from allotments where account_id = '{story.account}'"],
        [
            f"account {story.account}: allotment_used of 20",
            ": is 0, should be 2",
            f"wrong-state: account {story.account}: published list cost used of 20",
        ],
    ),
    "an account's own allotment changed": lambda story: (
        [
            "update accounts set allotment_rule = 'list_cost', free_list_cost_nano_usd = 5, "
            f"free_requests = 7, fee_percent = 3 where account_id = '{story.account}'"
        ],
        [
            f"wrong-state: account {story.account}: published allotment rule at offset",
            "is requests, should be list_cost",
            "published free list cost at offset",
            "published free requests at offset",
            "published fee percent at offset",
        ],
    ),
    "a hold opened again": lambda story: (
        [f"update holds set is_open = true where hold_id = '{story.hold}'"],
        [f"hold {story.hold}, ending posted: is open, should be closed", "unbalanced: ledger"],
    ),
    "a hold open past its time": lambda story: (
        [
            f"delete from hold_endings where hold_id = '{story.hold}'",
            "update holds set is_open = true, hold_until = now() - interval '1 hour' "
            f"where hold_id = '{story.hold}'",
        ],
        [f"hold {story.hold}, past its time: is open, should be expired", "taken out"],
    ),
    "the ending of a hold deleted": lambda story: (
        [f"delete from hold_endings where hold_id = '{story.hold}'"],
        [f"hold {story.hold}, ending None: is closed, should be open"],
    ),
    "the inbox forgot a fact": lambda _: (
        ["delete from inbox where event_id = (select min(event_id) from inbox)"],
        ["not-taken-in: event "],
    ),
    "the inbox made up a fact": lambda _: (
        ["update inbox set event_id = 'x' where event_id = (select min(event_id) from inbox)"],
        ["not-taken-in: event ", "taken-in-without-record: event "],
    ),
    "an abandonment deleted": lambda story: (
        [f"delete from abandonments where generation_id = '{story.reversed}'"],
        [
            f"fact-not-booked: generation {story.reversed}",
            "transfers revenue_reversed: is 7500000, should be 0",
            "told-not-booked: ",
        ],
    ),
    "an abandonment made up": lambda story: (
        [
            "insert into abandonments (month, generation_id, kind, account_id, reason) "
            "select month, generation_id, 'abandoned', account_id, 'x' from generations "
            f"where generation_id = '{story.charged}'"
        ],
        [
            f"booking-without-fact: generation {story.charged}",
            "transfers credits_given_back: is 0, should be 7500000",
            f"{story.charged}/charge_reversed: is untold, should be told",
        ],
    ),
    "a top-up changed": lambda story: (
        [f"update credit_movements set amount_nano_usd = 1 where account_id = '{story.account}'"],
        [f"wrong-transfers: movement credit/{story.account}/k"],
    ),
    "a top-up's transfer deleted": lambda story: (
        [f"delete from transfers where transfer_id = 'credit/{story.account}/k/top_up'"],
        [
            f"told-not-booked: movement credit/{story.account}/k",
            f"wrong-counter: account {story.account}",
        ],
    ),
}


@asynccontextmanager
async def damaged(database: asyncpg.Connection, *statements: str) -> AsyncIterator[None]:
    """The books with something done to them that their triggers forbid; put back at the end."""
    for table in _TABLES:
        await database.execute(f"drop table if exists saved_{table}")
        await database.execute(f"create table saved_{table} as select * from {table}")
    await without_triggers(database, *statements)
    try:
        yield
    finally:
        all_tables = ", ".join(_TABLES)
        back = [f"insert into {each} select * from saved_{each}" for each in _TABLES]
        await without_triggers(database, f"truncate {all_tables} cascade", *back)
        for table in _TABLES:
            await database.execute(f"drop table saved_{table}")


async def without_triggers(database: asyncpg.Connection, *statements: str) -> None:
    """Do what the triggers forbid, as who owns the tables can."""
    rows = await database.fetch(
        "select oid::regclass::text as name from pg_class "
        "where relnamespace = 'billing'::regnamespace and relkind in ('r', 'p')"
    )
    names = [row["name"] for row in rows]
    async with database.transaction():
        for name in names:
            await database.execute(f"alter table {name} disable trigger user")
            await database.execute(f"grant update, delete, truncate on {name} to current_user")
        for statement in statements:
            await database.execute(statement)
        for name in names:
            await database.execute(f"alter table {name} enable trigger user")
            await database.execute(f"revoke truncate on {name} from current_user")
