"""What is kept of a client's headers."""

import pytest

from services.ingress.domain.request_origin import CHARACTERS_MAX, request_origin
from shared.events.generations import RequestOrigin


def test_nothing_said_is_nothing_kept() -> None:
    assert request_origin({"Host": "x"}) is None


@pytest.mark.parametrize(
    ("referer", "kept"),
    [
        ("https://app.example/page?token=secret#part", "https://app.example/page"),
        ("https://user:secret@app.example", "https://app.example"),
        ("app.example?x=1", "app.example"),
        ("https://app.example/\u00fc\n", "https://app.example/??"),
    ],
)
def test_a_referer_loses_what_may_be_private(referer: str, kept: str) -> None:
    origin = request_origin({"HTTP-Referer": referer})

    assert origin is not None
    assert origin.http_referer == kept


def test_the_clients_own_user_and_session_are_kept_as_they_are() -> None:
    origin = request_origin({}, user="üser 1", session_id="s-1")
    assert origin == RequestOrigin(external_user="üser 1", session_id="s-1")
    assert request_origin({}, user="", session_id="") is None


def test_the_title_has_two_names_and_everything_is_cut() -> None:
    origin = request_origin(
        {"X-Title": "old", "X-OpenRouter-Title": "new", "User-Agent": "u" * 999}
    )

    assert origin is not None
    assert origin.app_title == "new"
    assert origin.user_agent == "u" * CHARACTERS_MAX
