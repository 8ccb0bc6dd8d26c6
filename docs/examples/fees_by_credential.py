"""What each provider key costs: fees and charges from `billing.fees`, added up by credential.

    python fees_by_credential.py BOOTSTRAP_SERVERS [ACCOUNT_ID]

Needs aiokafka and nothing of OpenRoute. Every event is described in shared/events/asyncapi.json; a
record's type and id stand in its headers. Amounts are integer nano-USD. An event may come twice: its
id makes it count once. Prints what the topic holds now (35 days of it) and ends.
"""

# ruff: noqa: INP001 - a script by itself

import asyncio
import json
import sys
from collections import defaultdict

from aiokafka import AIOKafkaConsumer

PAID = {
    "openroute.FeeDeducted.v1": "fee_nano_usd",
    "openroute.FeeWaived.v1": "fee_nano_usd",
    "openroute.CreditsCharged.v1": "charge_nano_usd",
}
REVERSED = "openroute.ChargeReversed.v1"


async def main(bootstrap_servers: str, account_id: str | None = None) -> None:
    """Read the topic from its beginning to where it ends now."""
    requests: dict[str, int] = defaultdict(int)
    paid: dict[str, int] = defaultdict(int)
    seen: set[str] = set()
    consumer = AIOKafkaConsumer(
        "billing.fees", bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(each) < end for each, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    headers = dict(record.headers)
                    kind, event_id = headers["ce_type"].decode(), headers["ce_id"].decode()
                    fee = json.loads(record.value)
                    if event_id in seen or account_id not in (None, fee["account_id"]):
                        continue
                    seen.add(event_id)
                    credential = fee.get("credential_id") or "shared"
                    if kind in PAID:
                        requests[credential] += 1
                        paid[credential] += fee[PAID[kind]] - fee.get("uncollected_nano_usd", 0)
                    elif kind == REVERSED:
                        requests[credential] -= 1
                        paid[credential] -= fee["amount_nano_usd"]
    finally:
        await consumer.stop()
    for credential in sorted(requests):
        sys.stdout.write(f"{credential} {requests[credential]} {paid[credential]}\n")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:3]))
