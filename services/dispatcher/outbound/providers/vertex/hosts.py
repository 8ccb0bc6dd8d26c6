"""Where a Vertex AI call goes: the host that the credential's region names, and the paths below it.

Hosts: docs.cloud.google.com/vertex-ai/generative-ai/docs/learn/locations (`global`, regions) and
docs.cloud.google.com/vertex-ai/docs/general/googleapi-access-methods (multi-regions, `rep`).
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from services.dispatcher.domain.failure import ProviderFailure
from services.dispatcher.outbound.egress_addresses import authority_of
from services.dispatcher.outbound.providers.header_keys import WRONG_SECRET
from shared.events.credential_secrets import VertexSecret

GLOBAL: Final = "global"
MULTI_REGIONS: Final = frozenset({"us", "eu"})
_REGION: Final = re.compile(r"[a-z]{2,12}-[a-z]{4,12}[1-9][0-9]?")
_PROJECT: Final = re.compile(r"(?:[a-z][a-z0-9.-]{0,61}[a-z0-9]:)?[a-z][a-z0-9-]{4,28}[a-z0-9]")
_PLACES_REMEMBERED_MAX: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One project in one region. `hosts` are the only ones that its access token may go to."""

    base: str
    hosts: frozenset[str]

    def model(self, publisher: str, model: str, method: str) -> str:
        """The address of a method of a publisher's model."""
        return f"{self.base}/publishers/{publisher}/models/{quote(model, safe='@')}:{method}"

    @property
    def chat_completions(self) -> str:
        """The address of the endpoint that speaks OpenAI's format, for partners' models."""
        return f"{self.base}/endpoints/openapi/chat/completions"


def place_of(secret: VertexSecret, *, base_url: str | None) -> Place | ProviderFailure:
    """Where this credential is called; `base_url`, where there is one, stands for every region's host.

    key_vault has looked at region and project; they make a host and a path, so they are looked at
    again here, where a mistake would send a token elsewhere.
    """
    host = host_of(secret.region)
    if host is None or _PROJECT.fullmatch(secret.project_id) is None:
        return WRONG_SECRET
    return _place(base_url or f"https://{host}", secret.project_id, secret.region)


def host_of(region: str) -> str | None:
    """The host of a region; None when it is the name of none."""
    if region == GLOBAL:
        return "aiplatform.googleapis.com"
    if region in MULTI_REGIONS:
        return f"aiplatform.{region}.rep.googleapis.com"
    if _REGION.fullmatch(region) is None:
        return None
    return f"{region}-aiplatform.googleapis.com"


@lru_cache(maxsize=_PLACES_REMEMBERED_MAX)
def _place(base_url: str, project: str, region: str) -> Place:
    base = base_url.rstrip("/")
    return Place(
        base=f"{base}/v1/projects/{project}/locations/{region}",
        hosts=frozenset({authority_of(base)}),
    )
