"""Commands and their arguments.

Exit codes: 0 done, 1 a server did not answer, 2 the input is wrong. The last line on stdout is a
JSON object; what went wrong is one line on stderr.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn, get_args

import msgspec
from typing_extensions import override

from services.ingress.config import OperationsConfig
from services.ingress.operations import (
    accounts,
    api_keys,
    credit,
    management_keys,
    platform_credential,
)
from services.ingress.operations.connections import Connections, open_connections
from services.ingress.operations.outcomes import BadInput, Outcome
from services.ingress.outbound.postgres_accounts import POLICY_COLUMNS
from shared.config.environment import ConfigProblems, load
from shared.errors import OpenRouteError, Unavailable
from shared.events.accounts import SharedLimit
from shared.events.billing import AllotmentRule
from shared.money import NANO_PER_USD, parse_percent, parse_usd
from shared.telemetry.logging import configure_logging

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
_REQUESTS_MAX = 10**15
_FREE_LIST_COST_MAX = 1_000_000_000 * NANO_PER_USD
_DEFAULT = "default"


class _SharedLimit(SharedLimit, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """As an operator writes it: a name that is misspelt would limit nothing."""


class _Parser(argparse.ArgumentParser):
    @override
    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message}\n")
        sys.exit(EXIT_BAD_INPUT)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Carry out one command and return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        config = load(OperationsConfig, environment)
    except ConfigProblems as error:
        sys.stderr.writelines(f"{problem}\n" for problem in error.problems)
        return EXIT_BAD_INPUT
    configure_logging("operations", "operations", "error", stream=sys.stderr.buffer)
    try:
        outcome = asyncio.run(_carry_out(config, given))
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_BAD_INPUT
    except (Unavailable, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_FAILED
    except OpenRouteError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return EXIT_FAILED
    sys.stdout.write(msgspec.json.encode(outcome.printed).decode() + "\n")
    if outcome.warning is not None:
        sys.stderr.write(f"{outcome.warning}\n")
        return EXIT_FAILED
    return EXIT_DONE


async def _carry_out(config: OperationsConfig, given: argparse.Namespace) -> Any:
    async with open_connections(config) as connections:
        match given.command:
            case "account":
                return await accounts.create(connections, name=given.name)
            case "account-policy":
                changes = {
                    name: None if value == _DEFAULT else value
                    for name in sorted(POLICY_COLUMNS)
                    if (value := getattr(given, name)) is not None
                }
                return await accounts.change_policy(connections, given.account, changes)
            case "api-key-policy":
                return await api_keys.change_policy(
                    connections, given.key_hash, byok_only=given.byok_only
                )
            case "management-key":
                return await _management_key(connections, given)
            case "credit" | "refund" | "correct":
                return await _move_credits(connections, given)
            case _:
                return await platform_credential.keep(
                    connections, provider=given.provider, file=given.file
                )


async def _management_key(connections: Connections, given: argparse.Namespace) -> Outcome:
    if given.new:
        return await management_keys.make(connections, given.account)
    if given.disable is not None:
        return await management_keys.disable(connections, given.account, given.disable)
    return await management_keys.show(connections, given.account)


async def _move_credits(connections: Connections, given: argparse.Namespace) -> Outcome:
    account, amount, key = given.account, given.amount, given.key
    match given.command:
        case "credit":
            return await credit.add(
                connections,
                account,
                amount_nano_usd=amount,
                key=key,
                is_promotion=given.kind == "promotion",
            )
        case "refund":
            return await credit.refund(
                connections, account, amount_nano_usd=amount, key=key, reason=given.reason
            )
        case _:
            return await credit.correct(
                connections,
                account,
                amount_nano_usd=amount,
                key=key,
                reason=given.reason,
                reference=given.reference,
            )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="operations", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    account = commands.add_parser("account", help="make an account with its two keys")
    account.add_argument("--name", required=True, type=_name, help="what to call it")
    policy = commands.add_parser("account-policy", help="change what an account pays and may use")
    policy.add_argument("--account", required=True, help="the account's id")
    policy.add_argument(
        "--free-requests",
        type=_free_requests,
        help="BYOK requests a month without a fee; `default` for the installation's",
    )
    policy.add_argument(
        "--allotment",
        dest="allotment_rule",
        choices=(*get_args(AllotmentRule), _DEFAULT),
        help="what is free of the fee: so many requests, or so much list cost",
    )
    policy.add_argument(
        "--free-list-cost",
        dest="free_list_cost_nano_usd",
        type=_free_list_cost,
        help="USD of BYOK list cost a month without a fee; `default` for the installation's",
    )
    policy.add_argument(
        "--fee-percent", type=_fee_percent, help="the fee; `default` for the installation's"
    )
    policy.add_argument("--byok-only", type=_boolean, help="true keeps it off shared capacity")
    policy.add_argument(
        "--shared-limits",
        type=_shared_limits,
        help="rate limits of shared capacity as JSON by provider (`default`: each not named), such as "
        '{"openai": {"requests_per_minute": 60, "tokens_per_minute": 100000}}; '
        "`default` for the installation's",
    )
    api_key = commands.add_parser("api-key-policy", help="change what an API key may use")
    api_key.add_argument("--key-hash", required=True, help="the SHA-256 of the API key")
    api_key.add_argument(
        "--byok-only", required=True, type=_boolean, help="true keeps it off shared capacity"
    )
    management = commands.add_parser("management-key", help="list, make, disable management keys")
    management.add_argument("--account", required=True, help="the account's id")
    change = management.add_mutually_exclusive_group()
    change.add_argument("--new", action="store_true", help="make one, shown this once")
    change.add_argument("--disable", help="the SHA-256 of the one to take out of use for good")
    _add_movements(commands)
    platform = commands.add_parser("platform-credential", help="keep OpenRoute's own provider key")
    platform.add_argument("--provider", required=True, type=_name, help="the provider's slug")
    platform.add_argument("--file", required=True, type=Path, help="what one would paste")
    return parser


def _add_movements(commands: Any) -> None:
    credit_parser = commands.add_parser("credit", help="top up an account")
    credit_parser.add_argument("--amount", required=True, type=_amount, help="USD, such as 5.00")
    credit_parser.add_argument(
        "--kind", choices=("cash", "promotion"), default="cash", help="whether it was paid for"
    )
    refund_parser = commands.add_parser("refund", help="book money that went back")
    refund_parser.add_argument("--amount", required=True, type=_amount, help="USD, such as 5.00")
    refund_parser.add_argument("--reason", type=_reason, help="why, for the books")
    correct_parser = commands.add_parser("correct", help="give or take credits, saying why")
    correct_parser.add_argument(
        "--amount", required=True, type=_change, help="USD; below zero takes credits"
    )
    correct_parser.add_argument("--reason", required=True, type=_reason, help="what was wrong")
    correct_parser.add_argument("--reference", type=_reason, help="the generation or transfer")
    for parser in (credit_parser, refund_parser, correct_parser):
        parser.add_argument("--account", required=True, help="the account's id")
        parser.add_argument("--key", type=_key, help="the same key again changes nothing")


def _wrong(message: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(message)


def _text(value: str, characters_max: int) -> str:
    text = value.strip()
    if not text or len(text) > characters_max or not text.isprintable():
        raise _wrong(f"must be printable text of at most {characters_max} characters")
    return text


def _name(value: str) -> str:
    return _text(value, 200)


def _key(value: str) -> str:
    return _text(value, 200)


def _reason(value: str) -> str:
    return _text(value, 500)


def _boolean(value: str) -> bool:
    if value.lower() not in {"true", "false"}:
        raise _wrong("must be true or false")
    return value.lower() == "true"


def _free_requests(value: str) -> int | str:
    if value == _DEFAULT:
        return value
    if not (value.isascii() and value.isdigit()) or len(value) > 16 or int(value) > _REQUESTS_MAX:  # noqa: PLR2004 - digits of the maximum
        raise _wrong(f"must be a whole number between 0 and {_REQUESTS_MAX}, or default")
    return int(value)


def _free_list_cost(value: str) -> int | str:
    if value == _DEFAULT:
        return value
    try:
        amount = parse_usd(value)
    except ValueError as error:
        raise _wrong(f"{error}, or default") from None
    if not 0 <= amount <= _FREE_LIST_COST_MAX:
        raise _wrong("must be between 0 and 1000000000 USD, or default")
    return amount


def _fee_percent(value: str) -> Decimal | str:
    if value == _DEFAULT:
        return value
    try:
        percent = Decimal(value)
        parse_percent(percent)
    except (InvalidOperation, ValueError, OverflowError):
        raise _wrong(
            "must be between 0 and 100 with at most four decimal places, or default"
        ) from None
    return percent


def _shared_limits(value: str) -> Mapping[str, SharedLimit] | str:
    if value == _DEFAULT:
        return value
    try:
        limits = msgspec.json.decode(value, type=dict[str, _SharedLimit])
    except (ValueError, msgspec.MsgspecError):
        raise _wrong(
            "must be a JSON object of provider slugs with requests_per_minute and tokens_per_minute, "
            "or default"
        ) from None
    numbers = [number for limit in limits.values() for number in msgspec.structs.astuple(limit)]
    if any(number is not None and not 0 <= number <= _REQUESTS_MAX for number in numbers):
        raise _wrong(f"must have whole numbers between 0 and {_REQUESTS_MAX}")
    return limits


def _change(value: str) -> int:
    try:
        return parse_usd(value)
    except ValueError as error:
        raise _wrong(str(error)) from None


def _amount(value: str) -> int:
    amount = _change(value)
    if amount <= 0:
        raise _wrong("must be above zero")
    return amount
