"""What a client says of itself: the site it sends requests for, its title, the program it runs, for whom."""

from collections.abc import Mapping
from typing import Final

from services.ingress.domain.client_address import printable
from shared.events.generations import RequestOrigin

CHARACTERS_MAX: Final = 200
_TITLE: Final = "X-OpenRouter-Title"
_OLD_TITLE: Final = "X-Title"


def request_origin(
    headers: Mapping[str, str], *, user: str | None = None, session_id: str | None = None
) -> RequestOrigin | None:
    """What the headers say, with the client's own user and session; None when nothing is said.

    A referer loses user, query and fragment, where tokens and addresses of people stand.
    """
    referer, user_agent = headers.get("HTTP-Referer"), headers.get("User-Agent")
    title = headers.get(_TITLE) or headers.get(_OLD_TITLE)
    if not (referer or title or user_agent or user or session_id):
        return None
    return RequestOrigin(
        http_referer=_site(referer) if referer else None,
        app_title=printable(title, CHARACTERS_MAX) if title else None,
        user_agent=printable(user_agent, CHARACTERS_MAX) if user_agent else None,
        external_user=user or None,
        session_id=session_id or None,
    )


def _site(referer: str) -> str:
    address = referer.partition("?")[0].partition("#")[0]
    scheme, separator, rest = address.partition("://")
    if not separator:
        return printable(address, CHARACTERS_MAX)
    host, slash, path = rest.partition("/")
    return printable(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}", CHARACTERS_MAX)
