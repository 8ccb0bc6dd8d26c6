"""Proving a credential by a chat completion of one token or one embedding, where nothing cheaper does."""

from types import MappingProxyType
from typing import Final

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.embedding import EmbeddingRequest
from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.domain.request import ChatRequest, ProviderPreferences
from services.dispatcher.ports import Provider, ProviderSecret

_MESSAGES: Final = msgspec.Raw(b'[{"role":"user","content":"Hi"}]')
_NO_PREFERENCES: Final = ProviderPreferences()


async def check_by_completion(
    provider: Provider, attempt: Attempt, secret: ProviderSecret
) -> ProviderFailure | None:
    """None when the provider completes one token, whatever it says."""
    answer = await provider.complete(attempt, secret, _one_token(attempt.model))
    return answer if isinstance(answer, ProviderFailure) else None


async def check_by_embedding(
    provider: Provider, attempt: Attempt, secret: ProviderSecret
) -> ProviderFailure | None:
    """None when the provider embeds one word."""
    one_word = EmbeddingRequest(
        models=(attempt.model,),
        preferences=_NO_PREFERENCES,
        fields=MappingProxyType({}),
        inputs=("Hi",),
    )
    answer = await provider.embed(attempt, secret, one_word)
    return answer if isinstance(answer, ProviderFailure) else None


def _one_token(model: str) -> ChatRequest:
    return ChatRequest(
        models=(model,),
        preferences=_NO_PREFERENCES,
        stream=False,
        max_tokens=1,
        fields=MappingProxyType({"messages": _MESSAGES}),
    )
