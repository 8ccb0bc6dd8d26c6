"""Where Vertex AI answers: Gemini, Claude and partners' models below a project and a region.

The credential in the call log, and of scripts, is the address of the service account that holds the
access token.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec
from aiohttp import web

from tests.simulator import (
    chat_request,
    gemini_request,
    playback,
    vertex_claude,
    vertex_predict,
)
from tests.simulator.answer import Wire
from tests.simulator.anthropic_models import MODELS
from tests.simulator.anthropic_wire import AnthropicWire
from tests.simulator.call_log import CallLog
from tests.simulator.chat_request import ChatRequest
from tests.simulator.errors import ErrorAnswer, RequestRefused
from tests.simulator.gemini_models import GEMINIS
from tests.simulator.gemini_wire import GeminiWire
from tests.simulator.google_errors import scripted_google
from tests.simulator.google_tokens import ServiceAccounts
from tests.simulator.openai_wire import OpenAIWire, bearer
from tests.simulator.playback import Playback
from tests.simulator.scripts import (
    SECONDS_MAX,
    ConnectionReset,
    Garbage,
    Hang,
    ScriptBook,
    Status,
)
from tests.simulator.vertex_wires import GuestWire

_LOCATION: Final = re.compile(r"global|us|eu|[a-z]{2,12}-[a-z]{4,12}[1-9][0-9]?")
_PARTNER: Final = re.compile(r"[a-z0-9-]+/[a-z0-9.-]+-maas")
_BELOW: Final = "/v1/projects/{project}/locations/{location}"

_Decode = Callable[[bytes], ChatRequest]


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexRoutes:
    """Handlers that speak as Vertex AI."""

    scripts: ScriptBook
    calls: CallLog
    accounts: ServiceAccounts
    gemini: Wire = field(default_factory=GeminiWire)
    claude: Wire = field(
        default_factory=lambda: GuestWire(
            inner=AnthropicWire(), name="vertex-anthropic", in_list=False
        )
    )
    claude_streamed: Wire = field(
        default_factory=lambda: GuestWire(
            inner=AnthropicWire(), name="vertex-anthropic", in_list=True
        )
    )
    partner: Wire = field(
        default_factory=lambda: GuestWire(inner=OpenAIWire(), name="vertex-openai", in_list=True)
    )

    def routes(self) -> list[web.RouteDef]:
        """Where they answer."""
        return [
            web.post(_BELOW + "/publishers/google/models/{call}", self._google),
            web.post(_BELOW + "/publishers/anthropic/models/{call}", self._anthropic),
            web.post(_BELOW + "/endpoints/openapi/chat/completions", self._openapi),
        ]

    async def _google(self, http: web.Request) -> web.StreamResponse:
        model, _, method = http.match_info["call"].partition(":")
        if method == "countTokens":
            return await self._count(http, model)
        if method == "predict":
            return await self._predict(http, model)
        streamed = method == "streamGenerateContent"
        if not (method == "generateContent" or (streamed and http.query.get("alt") == "sse")):
            return _refused(self.gemini.scripted(Status(status=404), model=model, credential=""))
        return await self._play(
            http,
            self.gemini,
            model if model in GEMINIS else None,
            lambda body: gemini_request.decode(body, model, streamed=streamed),
            streamed=streamed,
        )

    async def _anthropic(self, http: web.Request) -> web.StreamResponse:
        model, _, method = http.match_info["call"].partition(":")
        streamed = method == "streamRawPredict"
        wire = self.claude_streamed if streamed else self.claude
        known = method in {"rawPredict", "streamRawPredict"}
        return await self._play(
            http,
            wire,
            model if known and vertex_claude.claude_of(model) in MODELS else None,
            lambda body: vertex_claude.decode(body, model, streamed=streamed),
            streamed=streamed,
        )

    async def _openapi(self, http: web.Request) -> web.StreamResponse:
        seen = chat_request.outline(await http.read())
        model = seen.model if isinstance(seen.model, str) else ""
        return await self._play(
            http,
            self.partner,
            model if _PARTNER.fullmatch(model) else None,
            chat_request.decode,
            streamed=seen.stream is True,
        )

    async def _play(
        self,
        http: web.Request,
        wire: Wire,
        model: str | None,
        decode: _Decode,
        *,
        streamed: bool,
    ) -> web.StreamResponse:
        """`model` None is one that is not there."""
        holder = self._holder(http)
        body = await http.read()
        call = self.calls.begin(wire=wire.name, model=model, credential=holder, streamed=streamed)
        played = Playback(http=http, wire=wire, call=call, calls=self.calls)
        with _noting_who_leaves(played):
            if holder is None:
                return played.refuse(wire.refused_key(None))
            if model is None or _LOCATION.fullmatch(http.match_info["location"]) is None:
                step = Status(status=404)
                return played.refuse(wire.scripted(step, model=http.path, credential=holder))
            try:
                request = decode(body)
            except RequestRefused as refusal:
                return played.refuse(wire.refused_request(refusal))
            return await played.play(self.scripts.take(holder), request, model)

    async def _predict(self, http: web.Request, model: str) -> web.StreamResponse:
        """Embed."""
        holder = self._holder(http)
        body = await http.read()
        call = self.calls.begin(
            wire=self.gemini.name,
            model=model,
            credential=holder,
            streamed=False,
            operation="embeddings",
        )
        played = Playback(http=http, wire=self.gemini, call=call, calls=self.calls)
        with _noting_who_leaves(played):
            if holder is None:
                return played.refuse(self.gemini.refused_key(None))
            if model not in vertex_predict.EMBEDDERS:
                step = Status(status=404)
                return played.refuse(self.gemini.scripted(step, model=http.path, credential=holder))
            try:
                asked = vertex_predict.decode(body, model)
            except RequestRefused as refusal:
                return played.refuse(self.gemini.refused_request(refusal))
            return await played.play_embeddings(
                self.scripts.take(holder), asked, vertex_predict.answer
            )

    async def _count(self, http: web.Request, model: str) -> web.StreamResponse:
        """Ask for no step: a check of a key must not use up what a test has scripted."""
        holder = self._holder(http)
        if holder is None:
            return _refused(self.gemini.refused_key(None))
        if model not in GEMINIS:
            return _refused(scripted_google(Status(status=404), model=model, in_list=False))
        step = self.scripts.peek(holder)
        match step:
            case Status():
                return _refused(self.gemini.scripted(step, model=model, credential=holder))
            case Hang() | ConnectionReset():
                if isinstance(step, Hang):
                    await asyncio.sleep(SECONDS_MAX)
                return playback.reset(http)
            case Garbage():
                return playback.garbage()
            case _:
                return web.json_response({"totalTokens": 1, "totalBillableCharacters": 2})

    def _holder(self, http: web.Request) -> str | None:
        """The account whose access token this is."""
        return self.accounts.holder_of(bearer(http.headers) or "")


@contextmanager
def _noting_who_leaves(played: Playback) -> Iterator[None]:
    """Note in the call log that the client left, which aiohttp tells by cancelling the handler."""
    try:
        yield
    except (asyncio.CancelledError, ConnectionError):
        played.calls.end(played.call, "client_gone")
        raise
    except BaseException:
        played.calls.end(played.call, "failed")
        raise


def _refused(error: ErrorAnswer) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(error.content),
        status=error.status,
        headers={"Content-Type": "application/json", **error.headers},
    )
