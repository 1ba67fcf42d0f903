"""Which codec each topic of a profile has."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from penstock.errors import ProfileError
from penstock.profile import JSON
from penstock.serdes.codec import PLAIN_JSON, Codec, Codecs

if TYPE_CHECKING:
    from penstock.profile import Profile


def codecs(profile: Profile) -> Codecs:
    """Say how each topic of a profile holds records; dials nothing.

    All codecs share one registry client, and a topic has one codec however often it is asked for:
    what one has learnt serves every segment.
    """

    @cache
    def codec(topic: str) -> Codec:
        if profile.format_of(topic) == JSON:
            return PLAIN_JSON
        raise ProfileError(f"topic {topic!r}: {profile.format_of(topic)!r} is not to be had")

    return codec


def codec_for(profile: Profile, topic: str) -> Codec:
    """Make the codec of one topic; see `codecs`."""
    return codecs(profile)(topic)


def restored(learnt: Mapping[str, Any]) -> Codec:
    """Make a codec of what `to_json` of another one gave; it decodes what that one could."""
    return PLAIN_JSON
