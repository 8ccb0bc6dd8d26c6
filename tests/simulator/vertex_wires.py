"""Claude and partners' models on Vertex AI: their own wire for answers, Google's for refusals."""

from dataclasses import dataclass

from tests.simulator.answer import Answer, Events, Wire
from tests.simulator.call_log import WireName
from tests.simulator.errors import ErrorAnswer, RequestRefused
from tests.simulator.google_errors import scripted_google
from tests.simulator.scripts import Status

_MODELS_OWN = frozenset({"context_length_exceeded", "content_filter"})
"""What is found out by the model's own server, and told in its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestWire:
    """Another's wire behind Google's front; `in_list` where Google wraps its errors into a list."""

    inner: Wire
    name: WireName
    in_list: bool

    def completion(self, answer: Answer) -> bytes:
        """The body of a plain answer."""
        return self.inner.completion(answer)

    def events(self, answer: Answer) -> Events:
        """The events of a streamed answer."""
        return self.inner.events(answer)

    def refused_key(self, credential: str | None) -> ErrorAnswer:
        """401, Google's."""
        return self.scripted(Status(status=401), model="", credential=credential or "")

    def refused_request(self, refusal: RequestRefused) -> ErrorAnswer:
        """400, the model's own."""
        return self.inner.refused_request(refusal)

    def scripted(self, step: Status, *, model: str, credential: str) -> ErrorAnswer:
        """What either of the two answers."""
        if step.code in _MODELS_OWN:
            return self.inner.scripted(step, model=model, credential=credential)
        return scripted_google(step, model=model, in_list=self.in_list)

    def late_error(self, model: str) -> ErrorAnswer:
        """The error that stands in a 200."""
        return self.inner.late_error(model)

    def error_event(self, error: ErrorAnswer) -> bytes:
        """An error in a stream."""
        return self.inner.error_event(error)
