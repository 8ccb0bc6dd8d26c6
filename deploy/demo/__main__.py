"""`make demo`, after `make up`: tell the story on the running stack."""

import asyncio
import sys

import aiohttp
from rich.console import Console

from deploy.demo.checks import Story
from deploy.demo.story import Demo, make_account
from deploy.local.options import Options, remembered
from deploy.local.stack import Stack
from deploy.product import Product
from deploy.tap import tap
from shared.events.topics import BILLING_FEES, ROUTING_FALLBACKS

_REQUEST_SECONDS_MAX = 60


async def _tell(stack: Stack, console: Console) -> int:
    story = Story(console)
    timeout = aiohttp.ClientTimeout(total=_REQUEST_SECONDS_MAX)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        product = Product(stack, session)
        account = await make_account(product, story)
        async with tap(product.kafka, [BILLING_FEES, ROUTING_FALLBACKS]) as events:
            await Demo(product, story, events, account).tell()
    demo = stack.manifest["demo"]
    console.print(
        "\nThe stack stays up (`make down` ends it). Try it with the demo account:\n\n"
        f"curl {stack.manifest['base_url']}/chat/completions "
        f"-H 'Authorization: Bearer {demo['api_key']}' -H 'Content-Type: application/json' "
        '-d \'{"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}\'',
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return story.end()


def main() -> int:
    """Tell the story; 0 when every check passed."""
    console = Console(highlight=False, soft_wrap=True)
    return asyncio.run(_tell(Stack(remembered(Options(), {})), console))


if __name__ == "__main__":
    sys.exit(main())
