"""`python -m tests.simulator --host 127.0.0.1 --port 9300 [--accounts FILE] [--log FILE | --no-log]`."""

import argparse
import asyncio
import json
import secrets
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import uvloop

from shared.clock import SystemClock
from tests.simulator.app import running_simulator
from tests.simulator.call_log import CALLS_MAX, CallLog


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one and prints it")
    parser.add_argument(
        "--accounts", type=Path, help="JSON: address of a Google service account -> its public key"
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--log", type=Path, help="append every call to this file, as JSON lines")
    kept.add_argument("--no-log", action="store_true", help="keep no calls, not even in memory")
    parser.add_argument("--calls-max", type=int, default=CALLS_MAX, help="calls kept in memory")
    return parser.parse_args()


async def _serve(host: str, port: int, calls: CallLog, accounts: dict[str, str]) -> None:
    stop = asyncio.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signal_number, stop.set)
    async with running_simulator(calls, host=host, port=port) as simulator:
        for email, public_key in accounts.items():
            simulator.accounts.put(email, public_key)
        sys.stdout.write(f"simulator listens on {simulator.url}\n")
        sys.stdout.flush()
        await stop.wait()


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    arguments = _arguments()
    with ExitStack() as opened:
        file = None
        if arguments.log is not None:
            file = opened.enter_context(arguments.log.open("ab", buffering=0))
        calls = CallLog(
            SystemClock(),
            id_prefix=secrets.token_hex(4),
            file=file,
            calls_max=0 if arguments.no_log else arguments.calls_max,
        )
        accounts = {}
        if arguments.accounts is not None:
            accounts = json.loads(arguments.accounts.read_text(encoding="utf-8"))
        uvloop.run(_serve(arguments.host, arguments.port, calls, accounts))


if __name__ == "__main__":
    main()
