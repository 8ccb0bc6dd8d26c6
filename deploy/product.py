"""The whole product as its users have it: HTTP, command line, Kafka; and its provider's script.

The demo and the end-to-end tests drive a stack through this.
"""

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import aiohttp

from deploy.local.places import REPOSITORY
from deploy.local.ports import HOST
from deploy.local.private_files import read_json
from deploy.local.service_account import public_key_of
from deploy.local.simulator import SIMULATOR
from deploy.local.stack import Stack
from shared.kafka.config import KafkaConfig
from shared.money import usd_string

_COMMAND_SECONDS_MAX: Final = 60.0


class UnexpectedAnswerError(Exception):
    """The product did not do what this program was sure of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account as `make account` gave it."""

    account_id: str
    api_key: str
    management_key: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.text)

    @property
    def chunks(self) -> list[Any]:
        """The events of a stream, `[DONE]` left out."""
        return [
            json.loads(line.removeprefix("data: "))
            for line in self.text.split("\n")
            if line.startswith("data: ") and line != "data: [DONE]"
        ]

    @property
    def content(self) -> str:
        """The answer's text, streamed or not."""
        if self.headers.get("Content-Type", "").startswith("text/event-stream"):
            return "".join(
                choice["delta"].get("content") or ""
                for chunk in self.chunks
                for choice in chunk["choices"]
            )
        return str(self.json["choices"][0]["message"]["content"])

    @property
    def usage(self) -> Any:
        """The usage of the answer, streamed or not."""
        if self.headers.get("Content-Type", "").startswith("text/event-stream"):
            return next(chunk["usage"] for chunk in self.chunks if "usage" in chunk)
        return self.json["usage"]


class Product:
    """A running stack."""

    def __init__(self, stack: Stack, session: aiohttp.ClientSession) -> None:
        """`session` may be used for anything on loopback."""
        self.stack = stack
        self.session = session

    @property
    def base_url(self) -> str:
        """Where clients point their library."""
        return str(self.stack.manifest["base_url"])

    @property
    def simulator(self) -> str:
        """The provider's own address."""
        ports = read_json(self.stack.places.ports)
        if ports is None:
            raise UnexpectedAnswerError("the stack has no ports: it was never up")
        return f"http://{HOST}:{ports[SIMULATOR]}"

    @property
    def kafka(self) -> KafkaConfig:
        """How to read the topics."""
        return KafkaConfig(bootstrap_servers=str(self.stack.manifest["kafka"]))

    async def operate(self, *arguments: str, service: str = "ingress") -> str:
        """Run an operator's command as its Make target does; its output, or AssertionError."""
        module = "services.ingress.operations" if service == "ingress" else f"services.{service}"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            *arguments,
            cwd=REPOSITORY,
            env=self.stack.service_environment(service),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_COMMAND_SECONDS_MAX):
            output, errors = await process.communicate()
        if process.returncode != 0:
            raise UnexpectedAnswerError(f"{arguments}: {process.returncode}: {errors.decode()}")
        return output.decode()

    async def make_account(
        self, *, credits_nano_usd: int = 0, free_requests: int | None = None, name: str = "test"
    ) -> Account:
        """An account with credits and, if given, an allotment of its own."""
        made = json.loads((await self.operate("account", "--name", name)).splitlines()[-1])
        account = Account(**made)
        if credits_nano_usd:
            amount = usd_string(credits_nano_usd)
            await self.operate("credit", "--account", account.account_id, "--amount", amount)
        if free_requests is not None:
            await self.operate(
                "account-policy",
                "--account",
                account.account_id,
                "--free-requests",
                str(free_requests),
            )
        return account

    async def request(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One HTTP request below the base URL."""
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        async with self.session.request(
            method, f"{self.base_url}{path}", json=body, data=data, headers=sent
        ) as response:
            return Answer(response.status, response.headers, await response.text())

    async def complete(
        self,
        account: Account,
        prompt: str = "hello",
        *,
        model: str = "openai/gpt-4o",
        stream: bool = False,
        **more: Any,
    ) -> Answer:
        """A chat completion."""
        return await self.request(
            "POST",
            "/chat/completions",
            key=account.api_key,
            body={
                "model": model,
                "messages": [{"role": "user", "content": prompt}],
                "stream": stream,
                **more,
            },
        )

    async def add_credential(
        self, account: Account, *, provider: str = "openai", key: Any, **more: Any
    ) -> Any:
        """Save a provider key and wait for its check; what the API tells of it."""
        answer = await self.request(
            "POST",
            "/byok?check=wait",
            key=account.management_key,
            body={
                "provider": provider,
                "key": key if isinstance(key, str) else json.dumps(key),
                **more,
            },
        )
        if answer.status != HTTPStatus.CREATED:
            raise UnexpectedAnswerError(f"{answer.status}: {answer.text}")
        return answer.json["data"]

    def azure_deployment(self, api_key: str, *, model_slug: str, model_id: str) -> dict[str, str]:
        """An element of an Azure array that leads to the simulator."""
        return {
            "model_slug": model_slug,
            "endpoint_url": (
                f"{self.simulator}/openai/deployments/{model_id}/chat/completions"
                "?api-version=2024-08-01-preview"
            ),
            "api_key": api_key,
            "model_id": model_id,
        }

    async def make_known(self, service_account: Mapping[str, Any]) -> None:
        """Have the provider know a Google service account by its public key."""
        email = service_account["client_email"]
        public_key = await asyncio.to_thread(public_key_of, service_account)
        async with self.session.put(
            f"{self.simulator}/_control/service_accounts/{email}", json={"public_key": public_key}
        ) as response:
            response.raise_for_status()

    async def script(
        self, credential: str, steps: Sequence[Mapping[str, Any]], repeat: str = "last"
    ) -> None:
        """Tell the provider how to treat a credential."""
        async with self.session.put(
            f"{self.simulator}/_control/credentials/{credential}",
            json={"script": list(steps), "repeat": repeat},
        ) as response:
            response.raise_for_status()

    async def provider_calls(self, credential: str) -> list[Any]:
        """The provider's own log of calls with a credential, but for checks of it."""
        async with self.session.get(
            f"{self.simulator}/_control/calls", params={"credential": credential}
        ) as response:
            calls: list[Any] = (await response.json())["calls"]
            return [call for call in calls if not _is_check(call)]


def _is_check(call: Any) -> bool:
    """Of keys of deployments: one token is completed, by those that do not chat one is embedded."""
    if call["operation"] == "embeddings":
        return (call["usage"] or {}).get("prompt_tokens") == 1
    if call["wire"] == "azure" and call["status"] == HTTPStatus.BAD_REQUEST:
        return "embed" in (call["model"] or "")
    return not call["streamed"] and (call["usage"] or {}).get("completion_tokens") == 1
