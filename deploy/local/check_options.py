"""Options that nothing could run with are refused before anything is started or remembered."""

from collections.abc import Callable

from deploy.catalog.load import CatalogProblems, load_folder
from deploy.local.errors import StackError
from deploy.local.options import Options, read_json_of_strings
from shared.config import parsers

_ANY_VERSION = 1


def check_options(options: Options) -> None:
    """Do nothing when the options are right.

    Raises:
        StackError: one line that names the option and what is wrong with it.
    """
    for provider, url in options.given_endpoints().items():
        _parsed(f"PROVIDER_ENDPOINTS: {provider}", url, parsers.url)
    if options.egress_allow:
        _parsed("EGRESS_ALLOW", options.egress_allow, parsers.host_port_list)
    if options.platform_credentials:
        read_json_of_strings(options.platform_credentials, name="PLATFORM_CREDENTIALS")
    try:
        load_folder(options.catalog_folder, version=_ANY_VERSION)
    except CatalogProblems as found:
        first, *others = found.problems
        more = f" (and {len(others)} more: python -m deploy.catalog check)" if others else ""
        raise StackError(f"CATALOG: {first}{more}") from found


def _parsed(name: str, value: str, parse: Callable[[str], object]) -> None:
    try:
        parse(value)
    except ValueError as error:
        raise StackError(f"{name} {error}, not {value!r}") from error
