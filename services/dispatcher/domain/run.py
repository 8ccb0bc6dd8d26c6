"""One run of a generation while it goes on, and the ways in which it ends."""

from datetime import datetime
from typing import Literal, assert_never

import msgspec

from services.dispatcher.domain.attempt import Attempt
from services.dispatcher.domain.client_error import ClientError
from services.dispatcher.domain.cost import Promise
from services.dispatcher.domain.estimate import estimated_usage
from services.dispatcher.domain.operations import AnyRequest
from services.dispatcher.domain.reply import Embeddings, WholeReply
from shared.events.completions import CompletionRequested
from shared.events.generations import AttemptReceipt, GenerationFinished
from shared.events.replies import AttemptSummary
from shared.events.usage import Usage
from shared.ids import RunId

WORD_CHARACTERS_MAX = 64
"""A provider's own words for finish reason and service tier are cut to this in facts."""


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """The provider's answer came to its proper end; `whole` is None when it was streamed."""

    whole: WholeReply | Embeddings | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None


class Failed(msgspec.Struct, frozen=True):
    """The client gets an error, or an error chunk when the first token is out."""

    error: ClientError


class Cancelled(msgspec.Struct, frozen=True):
    """Nobody waits for the rest: the client left, its ingress died, or another run answers."""

    reason: str


class Dropped(msgspec.Struct, frozen=True):
    """The run did not begin: too late, somebody else's, unwanted, or not to be opened."""

    reason: str


Ending = Completed | Failed | Cancelled | Dropped


class Run(msgspec.Struct, kw_only=True):
    """What is known so far. `is_claimed` says that no other dispatcher has it. `answering` is the attempt that answers, once that is certain.

    `first_token_out` is when nothing falls back any more. `usage` and `upstream_id` are what the
    provider of the attempt at hand told, `delivered_bytes` what went towards the client of a stream.
    """

    asked: CompletionRequested
    run_id: RunId
    began_at: datetime
    is_claimed: bool = False
    request: AnyRequest | None = None
    attempts: list[AttemptReceipt] = msgspec.field(default_factory=list)
    fallback_reasons: list[str] = msgspec.field(default_factory=list)
    answering: Attempt | None = None
    promise: Promise | None = None
    first_token_out: bool = False
    first_token_seconds: float | None = None
    usage: Usage | None = None
    upstream_id: str | None = None
    delivered_bytes: int = 0
    finish_reason: str | None = None
    native_finish_reason: str | None = None

    def begin_attempt(self) -> None:
        """Forget what the provider of the attempt before told."""
        self.usage = self.upstream_id = None

    def note_usage(self, usage: Usage) -> None:
        """Remember what the provider has counted so far, in place of what it told before."""
        self.usage = usage

    def used(self, *, is_complete: bool) -> Usage | None:
        """Usage as told, or estimated from what was delivered; None when nothing was.

        Of a run that was cut short, the provider's count so far may lag behind what was delivered.
        """
        if self.answering is None or self.request is None:
            return None
        if is_complete and self.usage is not None:
            return self.usage
        if not self.first_token_out:
            return None
        estimate = estimated_usage(self.request, self.answering.endpoint, self.delivered_bytes)
        if self.usage is None:
            return estimate
        if self.usage.completion_tokens >= estimate.completion_tokens:
            return self.usage
        return msgspec.structs.replace(
            self.usage, completion_tokens=estimate.completion_tokens, estimated=True
        )

    def finished(self, ending: Completed | Failed | Cancelled, now: datetime) -> GenerationFinished:
        """The fact that billing charges by."""
        asked, attempt = self.asked, self.answering
        endpoint = None if attempt is None else attempt.endpoint
        is_byok = attempt is not None and attempt.is_byok
        return GenerationFinished(
            generation_id=asked.generation_id,
            run_id=self.run_id,
            account_id=asked.account_id,
            api_key_hash=asked.api_key_hash,
            operation=asked.operation,
            outcome=outcome_of(ending),
            is_byok=is_byok,
            model=attempt.model if attempt else None,
            provider=endpoint.provider if endpoint else None,
            endpoint=endpoint.id if endpoint else None,
            credential_id=attempt.credential.credential_id if attempt and is_byok else None,
            usage=self.used(is_complete=isinstance(ending, Completed)),
            prices=endpoint.prices if endpoint else None,
            spend=self.promise.spend if self.promise else None,
            attempts=tuple(self.attempts),
            finish_reason="error" if isinstance(ending, Failed) else self.finish_reason,
            native_finish_reason=_word(self.native_finish_reason),
            streamed=self.request is not None and self.request.is_streamed,
            started_at=self.began_at,
            finished_at=now,
            requested_model=self.request.models[0] if self.request else None,
            first_token_ms=_milliseconds(self.first_token_seconds),
            service_tier=_word(ending.service_tier) if isinstance(ending, Completed) else None,
            origin=asked.origin,
        )

    def summaries(self) -> tuple[AttemptSummary, ...]:
        """The attempts as the client may see them."""
        return tuple(
            AttemptSummary(
                provider=receipt.provider,
                model=receipt.model,
                endpoint=receipt.endpoint,
                status=receipt.status,
                credential_id=receipt.credential_id,
                tier=receipt.tier,
                failure=receipt.failure,
            )
            for receipt in self.attempts
        )


def _word(text: str | None) -> str | None:
    """A word of the provider's as it may be kept: it is anybody's text, and facts hold no content."""
    if text is None:
        return None
    shown = text[:WORD_CHARACTERS_MAX]
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(character if " " <= character <= "~" else "?" for character in shown)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


Outcome = Literal["completed", "failed", "cancelled"]


def outcome_of(ending: Completed | Failed | Cancelled) -> Outcome:
    """The word for an ending in facts."""
    match ending:
        case Completed():
            return "completed"
        case Failed():
            return "failed"
        case Cancelled():
            return "cancelled"
        case _:
            assert_never(ending)
