"""A session of aioboto3 that knows nothing but what it is told.

botocore looks for credentials, regions, endpoints, proxies and certificates in the environment, in
~/.aws and at the metadata address of the machine, and one that it found there would go out in place
of the account's own. So every place where it looks is taken out.
"""

from functools import lru_cache
from pathlib import Path
from typing import Final

import aioboto3
from aiobotocore.session import AioSession
from botocore.configprovider import (
    BOTOCORE_DEFAUT_SESSION_VARIABLES,
    ConfigValueStore,
    ConstantProvider,
)
from botocore.credentials import CredentialResolver
from botocore.loaders import Loader
from botocore.tokens import TokenProviderChain

_FILES: Final = frozenset({"config_file", "credentials_file", "data_path"})
_NEWER: Final = str(Path(__file__).parent / "botocore_models")
"""What Bedrock has learned since the botocore that is pinned: structured output, strict tools, the time
to live of cache points (botocore's own way to extend a model, `sdk-extras`)."""


def hermetic_session() -> aioboto3.Session:
    """A new one. Its clients read JSON files when they are made first: do that in a thread."""
    session = AioSession()
    session.register_component(
        "config_store",
        ConfigValueStore(
            mapping={
                name: ConstantProvider(None if name in _FILES else default)
                for name, (_, _, default, _) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
            }
        ),
    )
    session.register_component("data_loader", _models())
    session.register_component("credential_provider", CredentialResolver(providers=[]))
    session.register_component("token_provider", TokenProviderChain(providers=[]))
    return aioboto3.Session(botocore_session=session)


@lru_cache(maxsize=1)
def _models() -> Loader:
    """Reads the files of botocore's models, and keeps what it has read for all sessions."""
    return Loader(
        extra_search_paths=[Loader.BUILTIN_DATA_PATH, _NEWER], include_default_search_paths=False
    )
