"""Reading the content of a message: text, or a list of parts, each checked here once for all."""

import binascii
import re
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec

from services.dispatcher.domain.conversation import (
    Audio,
    CacheMark,
    Data,
    File,
    Image,
    Link,
    Part,
    Refused,
    Source,
    Text,
    Video,
)

LINK_CHARACTERS_MAX: Final = 8192

_DATA_URL: Final = re.compile(r"data:([a-z]+/[a-zA-Z0-9.+_-]+)?((?:;[^,;]*)*?);base64,")
_AUDIO_TYPES: Final = {"mp3": "audio/mpeg", "m4a": "audio/mp4", "aiff": "audio/aiff"}


class WireCache(msgspec.Struct, frozen=True):
    """`cache_control`; the only type there is is `ephemeral`."""

    type: str | None = None
    ttl: str | None = None


class _Url(msgspec.Struct, frozen=True):
    url: str


class _File(msgspec.Struct, frozen=True):
    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None


class _Audio(msgspec.Struct, frozen=True):
    data: str
    format: str


class WirePart(msgspec.Struct, frozen=True):
    """One part, of any kind."""

    type: str
    text: str | None = None
    image_url: _Url | str | None = None
    video_url: _Url | str | None = None
    file: _File | None = None
    input_audio: _Audio | None = None
    cache_control: WireCache | None = None


WireContent = str | list[WirePart] | None

_Maker: TypeAlias = Callable[[Source], Part]


def read_content(content: WireContent, path: str) -> tuple[Part, ...] | Refused:
    """The parts of a content; none when it is null."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(text=content),)
    parts: list[Part] = []
    for at, wire in enumerate(content):
        part = _part(wire, f"{path}[{at}]")
        if isinstance(part, Refused):
            return part
        parts.append(part)
    return tuple(parts)


def read_texts(content: WireContent, path: str) -> tuple[Text, ...] | Refused:
    """The parts of a content that can only be text."""
    parts = read_content(content, path)
    if isinstance(parts, Refused):
        return parts
    texts = tuple(part for part in parts if isinstance(part, Text))
    if len(texts) < len(parts):
        at = next(at for at, part in enumerate(parts) if not isinstance(part, Text))
        return Refused(f"{path}[{at}].type", "only text can stand in a message of this role")
    return texts


def read_cache(wire: WireCache | None) -> CacheMark | None:
    """A mark for the cache; how long is left to the provider when we do not know the word."""
    if wire is None:
        return None
    ttl: Literal["5m", "1h"] | None = None
    match wire.ttl:
        case "5m" | "1h":
            ttl = wire.ttl
        case _:
            pass
    return CacheMark(ttl=ttl)


def _part(wire: WirePart, path: str) -> Part | Refused:
    cache = read_cache(wire.cache_control)
    match wire.type:
        case "text" | "refusal":
            return Text(text=wire.text or "", cache=cache)
        case "image_url":
            source = _at(wire.image_url, f"{path}.image_url.url")
            return _or_refused(source, lambda given: Image(source=given, path=path, cache=cache))
        case "video_url":
            source = _at(wire.video_url, f"{path}.video_url.url")
            return _or_refused(source, lambda given: Video(source=given, path=path, cache=cache))
        case "file":
            return _file(wire.file, path, cache)
        case "input_audio":
            return _audio(wire.input_audio, path, cache)
        case _:
            return Refused(f"{path}.type", "not a kind of content that can be passed on")


def _or_refused(source: Source | Refused, make: _Maker) -> Part | Refused:
    return source if isinstance(source, Refused) else make(source)


def _file(file: _File | None, path: str, cache: CacheMark | None) -> Part | Refused:
    if file is None or file.file_data is None:
        if file is not None and file.file_id is not None:
            return Refused(
                f"{path}.file.file_id", "stored files are not known here; send file_data"
            )
        return Refused(f"{path}.file.file_data", "must be given")
    source = _source(file.file_data, f"{path}.file.file_data")
    return _or_refused(
        source,
        lambda given: File(source=given, path=path, filename=file.filename, cache=cache),
    )


def _audio(audio: _Audio | None, path: str, cache: CacheMark | None) -> Part | Refused:
    if audio is None:
        return Refused(f"{path}.input_audio", "must be given")
    data = _checked(audio.data, _AUDIO_TYPES.get(audio.format, f"audio/{audio.format}"))
    if data is None:
        return Refused(f"{path}.input_audio.data", "must be base64")
    return Audio(source=data, path=path, cache=cache)


def _at(url: _Url | str | None, path: str) -> Source | Refused:
    match url:
        case None:
            return Refused(path, "must be given")
        case str():
            return _source(url, path)
        case _Url():
            return _source(url.url, path)


def _source(url: str, path: str) -> Source | Refused:
    if url.startswith("https://"):
        if len(url) > LINK_CHARACTERS_MAX or not url.isprintable() or " " in url:
            return Refused(path, "must be a plain address of at most 8192 characters")
        return Link(url=url)
    found = _DATA_URL.match(url)
    if found is None:
        return Refused(path, "must begin with https:// or be a data URL in base64")
    data = _checked(url[found.end() :], found[1] or "text/plain")
    return Refused(path, "must be a data URL in base64") if data is None else data


def _checked(base64: str, media_type: str) -> Data | None:
    """Base64 with padding, which must decode; None when it does not or is empty."""
    try:
        # Strict mode wants the padding and nothing but the alphabet.
        content = binascii.a2b_base64(base64.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return None
    return Data(media_type=media_type.lower(), base64=base64) if content else None
