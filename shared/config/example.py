"""`.env.example`, made from the configurations themselves so that it cannot fall behind."""

import textwrap
from collections.abc import Mapping

from shared.config.environment import SettingDescription, describe

_WIDTH = 100
_OPENING = """\
# Every setting that a process reads from its environment, with what it means.
# Made by `make schemas` from the services' config.py; do not edit by hand.
# A line that begins with "# NAME=" shows the default, which holds when the line stays as it is.
"""


def render(configs: Mapping[str, type]) -> str:
    """The text of `.env.example` for services and their configuration types.

    A setting that several services read in the same way stands once, at the top.
    """
    readers: dict[SettingDescription, list[str]] = {}
    for service, config_type in configs.items():
        for each in describe(config_type):
            readers.setdefault(each, []).append(service)
    sections: dict[str, list[SettingDescription]] = {}
    for each, services in readers.items():
        sections.setdefault(_title(services, len(configs)), []).append(each)
    ordered = sorted(sections, key=lambda title: len(readers[sections[title][0]]), reverse=True)
    blocks = [_OPENING]
    for title in ordered:
        blocks.append(f"\n# --- {title} ---\n")
        blocks.extend("\n" + _entry(each) for each in sections[title])
    return "".join(blocks)


def _title(services: list[str], service_count: int) -> str:
    return "every service" if len(services) == service_count > 1 else ", ".join(services)


def _entry(each: SettingDescription) -> str:
    needed = "" if each.default is not None else " Must be set."
    example = "" if each.example == each.default else f" Example: {each.example}"
    comment = f"{each.meaning.rstrip('.')}.{needed}{example}"
    lines = textwrap.wrap(comment, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    if each.default is not None:
        lines_after = f"# {each.name}={each.default}"
    else:
        lines_after = f"{each.name}={'' if each.secret else each.example}"
    return "".join(f"# {line}\n" for line in lines) + lines_after + "\n"
