"""Which codec each topic of a profile has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from penstock.profile import JSON
from penstock.serdes.codec import PLAIN_JSON, Codec, Codecs

if TYPE_CHECKING:
    from penstock.profile import Profile
    from penstock.serdes.registry import Registry


def codecs(profile: Profile) -> Codecs:
    """Say how each topic of a profile holds records; dials nothing.

    All codecs share one registry client, and a topic has one codec however often it is asked for:
    what one has learnt serves every segment.

    Raises:
        ProfileError: When a codec is asked for, and the registry's URL is wrong.
    """

    @cache
    def registry() -> Registry:
        return registry_at(profile.registry)

    @cache
    def codec(topic: str) -> Codec:
        return codec_of(profile.format_of(topic), topic, registry)

    return codec


def codec_of(format_: str, topic: str, registry: Callable[[], Registry]) -> Codec:
    """Make the codec of one topic in a format.

    Args:
        format_: One of `penstock.profile.FORMATS`.
        topic: The topic's name.
        registry: Gives a client of the registry that keeps its schemas, if the format has any.

    Raises:
        ProfileError: The registry's URL is wrong.
    """
    if format_ == JSON:
        return PLAIN_JSON
    from penstock.serdes.registered import FORMS, RegisteredCodec

    return RegisteredCodec(FORMS[format_](), topic, registry())


def registry_at(url: str | None) -> Registry:
    """Make a client of a registry; raises `ProfileError` when the URL is wrong."""
    from penstock.serdes.registry import Registry

    return Registry(url or "")


def codec_for(profile: Profile, topic: str) -> Codec:
    """Make the codec of one topic; see `codecs`."""
    return codecs(profile)(topic)


def restored(learnt: Mapping[str, Any]) -> Codec:
    """Make a codec of what `to_json` of another one gave; it decodes what that one could."""
    if learnt["format"] == JSON:
        return PLAIN_JSON
    from penstock.serdes.registered import FORMS, RegisteredCodec
    from penstock.serdes.registry import Schema

    schemas = {
        number: None if one is None else Schema(number, one[0], one[1], tuple(one[2]))
        for number, one in learnt["schemas"]
    }
    return RegisteredCodec(FORMS[learnt["format"]](), learnt["topic"], None, schemas)
