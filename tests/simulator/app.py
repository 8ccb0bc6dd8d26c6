"""The simulator as an aiohttp application, and as a running server for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import msgspec
from aiohttp import web

from tests.simulator import (
    anthropic_request,
    anthropic_wire,
    azure_wire,
    bedrock_auth,
    bedrock_invoke,
    bedrock_request,
    chat_request,
    openai_embeddings,
    openai_wire,
    playback,
)
from tests.simulator.answer import Wire
from tests.simulator.anthropic_models import MODELS
from tests.simulator.anthropic_wire import AnthropicWire
from tests.simulator.azure_wire import AzureWire
from tests.simulator.bedrock_wire import BedrockWire
from tests.simulator.call_log import CallLog
from tests.simulator.chat_request import ChatRequest
from tests.simulator.control import Control
from tests.simulator.embeddings import Asked, is_embedder
from tests.simulator.errors import Cause, ErrorAnswer, RequestRefused
from tests.simulator.google_tokens import ServiceAccounts, TokenEndpoint
from tests.simulator.openai_wire import OpenAIWire
from tests.simulator.playback import Playback, WriteVectors
from tests.simulator.scripts import (
    SECONDS_MAX,
    ConnectionReset,
    Garbage,
    Hang,
    ScriptBook,
    Status,
)
from tests.simulator.vertex_routes import VertexRoutes

BODY_BYTES_MAX = 64 * 1024 * 1024
_MISSING = "missing"
_SHUTDOWN_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Providers:
    """Handlers that speak as a provider."""

    scripts: ScriptBook
    calls: CallLog
    openai: OpenAIWire
    azure: AzureWire
    anthropic: AnthropicWire
    bedrock: BedrockWire

    def routes(self) -> list[web.RouteDef]:
        """Where they answer."""
        deployment = "/deployments/{deployment}/chat/completions"
        return [
            web.post("/v1/chat/completions", self._openai_chat),
            web.post("/v1/embeddings", self._openai_embeddings),
            web.post("/v1/messages", self._anthropic_messages),
            web.post("/bedrock/{region}/model/{model}/invoke", self._invoke),
            web.post("/bedrock/{region}/model/{model}/converse", self._converse),
            web.post("/bedrock/{region}/model/{model}/converse-stream", self._converse),
            web.get("/v1/models", self._v1_models),
            web.get("/v1/key", self._v1_key),
            web.get("/openai/models", self._azure_models),
            web.post("/openai" + deployment, self._azure_chat),
            web.post(deployment, self._azure_chat),
            web.post("/models/chat/completions", self._foundry_chat),
            web.post("/openai/deployments/{deployment}/embeddings", self._azure_embeddings),
            web.post("/deployments/{deployment}/embeddings", self._azure_embeddings),
            web.post("/models/embeddings", self._foundry_embeddings),
            web.get("/healthz", self._healthz),
            web.route("*", "/{path:.*}", self._unknown),
        ]

    async def _openai_chat(self, http: web.Request) -> web.StreamResponse:
        credential = _printable(openai_wire.bearer(http.headers))
        body = await http.read()
        request = _decoded(body)
        model = request.model if isinstance(request, ChatRequest) else None
        playback = self._begin(http, self.openai, credential, request, body, model)
        with _Leaving(playback):
            if credential is None or not self.scripts.accepts(credential):
                return playback.refuse(self.openai.refused_key(credential))
            if isinstance(request, RequestRefused):
                return playback.refuse(self.openai.refused_request(request))
            if not model:
                return playback.refuse(_no_model())
            if model.startswith(_MISSING):
                step = Status(status=404)
                return playback.refuse(
                    self.openai.scripted(step, model=model, credential=credential)
                )
            try:
                chat_request.refuse_for_model(request, model)
            except RequestRefused as refusal:
                return playback.refuse(self.openai.refused_request(refusal))
            return await playback.play(self.scripts.take(credential), request, model)

    async def _azure_chat(self, http: web.Request) -> web.StreamResponse:
        body = await http.read()
        request = _decoded(body)
        if isinstance(request, ChatRequest):
            request = azure_wire.in_version(request, http.query.get("api-version"))
        return await self._azure(http, request, body, http.match_info["deployment"])

    async def _foundry_chat(self, http: web.Request) -> web.StreamResponse:
        """Answer for a whole Foundry resource: the deployment is the body's `model`."""
        body = await http.read()
        request = _decoded(body)
        model = request.model if isinstance(request, ChatRequest) else None
        if isinstance(request, ChatRequest):
            request = azure_wire.with_extra_arguments(request, http.headers)
        return await self._azure(http, request, body, model)

    async def _azure(
        self,
        http: web.Request,
        request: ChatRequest | RequestRefused,
        body: bytes,
        deployment: str | None,
    ) -> web.StreamResponse:
        credential = _printable(http.headers.get("api-key"))
        playback = self._begin(http, self.azure, credential, request, body, deployment)
        with _Leaving(playback):
            if not azure_wire.is_api_version(http.query.get("api-version")):
                return playback.refuse(azure_wire.resource_not_found())
            if credential is None or not self.scripts.accepts(credential):
                return playback.refuse(self.azure.refused_key(credential))
            if deployment is not None and deployment.startswith(_MISSING):
                return playback.refuse(azure_wire.unknown_deployment())
            if deployment is not None and is_embedder(deployment):
                return playback.refuse(azure_wire.does_not("chatCompletion", deployment))
            try:
                chosen, asked = _chosen(request, deployment)
            except RequestRefused as refusal:
                return playback.refuse(self.azure.refused_request(refusal))
            return await playback.play(self.scripts.take(credential), asked, chosen)

    async def _anthropic_messages(self, http: web.Request) -> web.StreamResponse:
        credential = _printable(anthropic_wire.key_of(http.headers))
        version = http.headers.get("anthropic-version")
        body = await http.read()
        request: ChatRequest | RequestRefused
        try:
            request = anthropic_request.decode(body)
            anthropic_request.refuse_for_version(request, version or "")
        except RequestRefused as refusal:
            request = refusal
        model = request.model if isinstance(request, ChatRequest) else None
        playback = self._begin(http, self.anthropic, credential, request, body, model)
        with _Leaving(playback):
            if credential is None or not self.scripts.accepts(credential):
                return playback.refuse(self.anthropic.refused_key(credential))
            if version not in anthropic_wire.VERSIONS:
                return playback.refuse(anthropic_wire.wrong_version(version))
            if isinstance(request, RequestRefused):
                return playback.refuse(self.anthropic.refused_request(request))
            if model not in MODELS:
                return playback.refuse(anthropic_wire.unknown_model(model or ""))
            return await playback.play(self.scripts.take(credential), request, model)

    async def _converse(self, http: web.Request) -> web.StreamResponse:
        """Answer for Bedrock's runtime of the region in the path, which stands for its host."""
        credential = _printable(bedrock_auth.presented(http))
        body = await http.read()
        model = http.match_info["model"]
        request: ChatRequest | RequestRefused
        try:
            streamed = http.path.endswith("/converse-stream")
            base = bedrock_request.base_model(model)
            request = bedrock_request.decode(body, base, streamed=streamed)
        except RequestRefused as refusal:
            request = refusal
        playback = self._begin(http, self.bedrock, credential, request, body, model)
        with _Leaving(playback):
            why_not = bedrock_auth.why_not(http, body, self.calls.now())
            if why_not is not None:
                return playback.refuse(why_not)
            if credential is None or not self.scripts.accepts(credential):
                return playback.refuse(self.bedrock.refused_key(credential))
            if isinstance(request, RequestRefused):
                return playback.refuse(self.bedrock.refused_request(request))
            return await playback.play(self.scripts.take(credential), request, model)

    async def _openai_embeddings(self, http: web.Request) -> web.StreamResponse:
        body = await http.read()
        return await self._embed(
            http,
            self.openai,
            _printable(openai_wire.bearer(http.headers)),
            lambda: openai_embeddings.decode(body),
            openai_embeddings.answer,
        )

    async def _azure_embeddings(self, http: web.Request) -> web.StreamResponse:
        body, deployment = await http.read(), http.match_info["deployment"]
        if not azure_wire.is_api_version(http.query.get("api-version")):
            return _error_response(azure_wire.resource_not_found())
        if deployment.startswith(_MISSING):
            return _error_response(azure_wire.unknown_deployment())
        if not is_embedder(deployment):
            return _error_response(azure_wire.does_not("embeddings", deployment))
        return await self._embed(
            http,
            self.azure,
            _printable(http.headers.get("api-key")),
            lambda: openai_embeddings.decode(body, model=deployment),
            openai_embeddings.answer,
        )

    async def _foundry_embeddings(self, http: web.Request) -> web.StreamResponse:
        body = await http.read()
        if not azure_wire.is_api_version(http.query.get("api-version")):
            return _error_response(azure_wire.resource_not_found())
        extra = http.headers.get("extra-parameters")
        return await self._embed(
            http,
            self.azure,
            _printable(http.headers.get("api-key")),
            lambda: openai_embeddings.decode_foundry(body, extra),
            openai_embeddings.answer,
        )

    async def _invoke(self, http: web.Request) -> web.StreamResponse:
        """Answer InvokeModel for models that embed."""
        body = await http.read()
        model = http.match_info["model"]
        why_not = bedrock_auth.why_not(http, body, self.calls.now())
        if why_not is not None:
            return _error_response(why_not)
        return await self._embed(
            http,
            self.bedrock,
            _printable(bedrock_auth.presented(http)),
            lambda: bedrock_invoke.decode(body, bedrock_request.base_model(model)),
            bedrock_invoke.answer,
            tokens_header=bedrock_invoke.TOKENS_HEADER,
        )

    async def _embed(
        self,
        http: web.Request,
        wire: Wire,
        credential: str | None,
        decode: Callable[[], Asked],
        write: WriteVectors,
        *,
        tokens_header: str | None = None,
    ) -> web.StreamResponse:
        asked: Asked | RequestRefused
        try:
            asked = decode()
        except RequestRefused as refusal:
            asked = refusal
        model = asked.model if isinstance(asked, Asked) else None
        call = self.calls.begin(
            wire=wire.name,
            model=model,
            credential=credential,
            streamed=False,
            operation="embeddings",
        )
        playback = Playback(http=http, wire=wire, call=call, calls=self.calls)
        with _Leaving(playback):
            if credential is None or not self.scripts.accepts(credential):
                return playback.refuse(wire.refused_key(credential))
            if isinstance(asked, RequestRefused):
                return playback.refuse(wire.refused_request(asked))
            if asked.model.startswith(_MISSING):
                step = Status(status=404)
                return playback.refuse(
                    wire.scripted(step, model=asked.model, credential=credential)
                )
            step_now = self.scripts.take(credential)
            return await playback.play_embeddings(
                step_now, asked, write, tokens_header=tokens_header
            )

    def _begin(
        self,
        http: web.Request,
        wire: Wire,
        credential: str | None,
        request: ChatRequest | RequestRefused,
        body: bytes,
        model: str | None,
    ) -> Playback:
        if isinstance(request, RequestRefused):
            seen = chat_request.outline(body)
            model = model or (seen.model if isinstance(seen.model, str) else None)
            streamed = seen.stream is True
        else:
            streamed = request.stream is True
        call = self.calls.begin(
            wire=wire.name, model=model, credential=credential, streamed=streamed
        )
        return Playback(http=http, wire=wire, call=call, calls=self.calls)

    async def _v1_models(self, http: web.Request) -> web.Response:
        """The path is OpenAI's and Anthropic's; the headers say whose client asks."""
        version = http.headers.get("anthropic-version")
        if "x-api-key" not in http.headers and version is None:
            return await self._models(
                http, self.openai, openai_wire.bearer(http.headers), openai_wire.model_list()
            )
        if version not in anthropic_wire.VERSIONS:
            return _error_response(anthropic_wire.wrong_version(version))
        key = anthropic_wire.key_of(http.headers)
        return await self._models(http, self.anthropic, key, anthropic_wire.model_list())

    async def _v1_key(self, http: web.Request) -> web.Response:
        """OpenRouter's, whose list of models is public."""
        told = {"data": {"label": "sk-or-v1-...", "limit": None, "usage": 0}}
        return await self._models(http, self.openai, openai_wire.bearer(http.headers), told)

    async def _azure_models(self, http: web.Request) -> web.Response:
        if not azure_wire.is_api_version(http.query.get("api-version")):
            return _error_response(azure_wire.resource_not_found())
        key = http.headers.get("api-key")
        return await self._models(http, self.azure, key, openai_wire.model_list())

    async def _models(
        self, http: web.Request, wire: Wire, key: str | None, listed: object
    ) -> web.Response:
        """Ask for no step: a check of a key must not use up what a test has scripted."""
        credential = _printable(key)
        if credential is None or not self.scripts.accepts(credential):
            return _error_response(wire.refused_key(credential))
        step = self.scripts.peek(credential)
        match step:
            case Status():
                return _error_response(wire.scripted(step, model="", credential=credential))
            case Hang():
                await asyncio.sleep(SECONDS_MAX)
                return playback.reset(http)
            case ConnectionReset():
                return playback.reset(http)
            case Garbage():
                return playback.garbage()
            case _:
                return web.json_response(listed)

    async def _healthz(self, _http: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _unknown(self, http: web.Request) -> web.Response:
        if http.path.startswith(("/openai/", "/deployments/")):
            return _error_response(azure_wire.resource_not_found())
        return _error_response(openai_wire.unknown_url(http.method, http.path))


class _Leaving:
    """Notes in the call log that the client left, which aiohttp tells by cancelling the handler."""

    __slots__ = ("_playback",)

    def __init__(self, playback: Playback) -> None:
        self._playback = playback

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            return
        gone = issubclass(kind, asyncio.CancelledError | ConnectionError)
        self._playback.calls.end(self._playback.call, "client_gone" if gone else "failed")


def _printable(credential: str | None) -> str | None:
    """Header bytes that are no UTF-8 reach us as lone surrogates, which no JSON can hold."""
    return credential and credential.encode("utf-8", "replace").decode()


def _decoded(body: bytes) -> ChatRequest | RequestRefused:
    try:
        return chat_request.decode(body)
    except RequestRefused as refusal:
        return refusal


def _chosen(request: ChatRequest | RequestRefused, model: str | None) -> tuple[str, ChatRequest]:
    """The model and the request, when they go together; raises RequestRefused."""
    if isinstance(request, RequestRefused):
        raise request
    if not model:
        raise RequestRefused(
            Cause.MISSING_PARAMETER, "No model specified in request.", param="model"
        )
    chat_request.refuse_for_model(request, model)
    return model, request


def _no_model() -> ErrorAnswer:
    body = openai_wire.error_body("you must provide a model parameter", "invalid_request_error")
    return ErrorAnswer(status=400, body=body)


def _error_response(error: ErrorAnswer) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(error.body),
        status=error.status,
        headers={"Content-Type": "application/json", **error.headers},
    )


def make_application(
    scripts: ScriptBook, calls: CallLog, accounts: ServiceAccounts
) -> web.Application:
    """Put the handlers together; control routes come first, the catch-all last."""
    application = web.Application(client_max_size=BODY_BYTES_MAX)
    application.add_routes(Control(scripts=scripts, calls=calls).routes())
    providers = Providers(
        scripts=scripts,
        calls=calls,
        openai=OpenAIWire(),
        azure=AzureWire(),
        anthropic=AnthropicWire(),
        bedrock=BedrockWire(),
    )
    application.add_routes(TokenEndpoint(accounts).routes())
    vertex = VertexRoutes(scripts=scripts, calls=calls, accounts=accounts)
    application.add_routes(vertex.routes())
    application.add_routes(providers.routes())
    return application


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulator:
    """A running simulator, with its insides for tests in the same process."""

    host: str
    port: int
    scripts: ScriptBook
    calls: CallLog
    accounts: ServiceAccounts

    @property
    def url(self) -> str:
        """Where it listens; append `/v1` for OpenAI's wire, nothing for Anthropic's."""
        return f"http://{self.host}:{self.port}"


@asynccontextmanager
async def running_simulator(
    calls: CallLog, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Simulator]:
    """Serve until the block is left; port 0 takes a free one."""
    scripts, accounts = ScriptBook(), ServiceAccounts()
    runner = web.AppRunner(
        make_application(scripts, calls, accounts),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=4096).start()
        bound_port = cast("int", runner.addresses[0][1])
        yield Simulator(host=host, port=bound_port, scripts=scripts, calls=calls, accounts=accounts)
    finally:
        await runner.cleanup()
