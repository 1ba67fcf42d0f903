"""A store's URL is read strictly, and never shown with its password."""

from __future__ import annotations

import pytest

from penstock.errors import ProfileError
from penstock.sinks.cassandra.address import read


def test_a_short_url() -> None:
    address = read("cassandra://localhost/shop")
    assert address.points == (("localhost", 9042),)
    assert (address.keyspace, address.consistency) == ("shop", "LOCAL_QUORUM")
    assert (address.user, address.tls, address.replication) == ("", False, None)


def test_a_long_url() -> None:
    address = read(
        "cassandra://us%40er:p%2Fa%3Ass%40@one:9043,[::1]:9044,three/shop?consistency=quorum"
        "&replication=east:3,west:2&datacenter=east&tls=true&ca=/ca.pem&cert=/c.pem&key=/k.pem"
    )
    assert address.points == (("one", 9043), ("::1", 9044), ("three", 9042))
    assert (address.user, address.password) == ("us@er", "p/a:ss@")
    assert address.consistency == "QUORUM"
    assert address.replication == {"class": "NetworkTopologyStrategy", "east": "3", "west": "2"}
    assert (address.datacenter, address.tls) == ("east", True)
    assert (address.ca, address.cert, address.key) == ("/ca.pem", "/c.pem", "/k.pem")


def test_a_number_of_copies() -> None:
    address = read("cassandra://h/shop?replication=3")
    assert address.replication == {"class": "NetworkTopologyStrategy", "replication_factor": "3"}


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("h", "names no keyspace"),
        ("h/", "names no keyspace"),
        ("h/a-b", "cannot have a keyspace 'a-b'"),
        ("h/" + "k" * 49, "cannot have a keyspace"),
        ("h:x/shop", "'h:x' is no host"),
        ("h:70000/shop", "is no host"),
        ("h,,i/shop", "'' is no host"),
        ("h/shop?consitency=ONE", "no option 'consitency'"),
        ("h/shop?tls=true&tls=false", "given twice"),
        ("h/shop?consistency=ANY", "no consistency 'ANY'"),
        ("h/shop?consistency=LOCAL_SERIAL", "no consistency"),
        ("h/shop?replication=0", "replication is"),
        ("h/shop?replication=3,2", "replication is"),
        ("h/shop?replication=a:3,a:2", "replication is"),
        ("h/shop?replication=a:3,2", "replication is"),
        ("h/shop?tls=yes", "tls is true or false"),
        ("h/shop?ca=/ca.pem", "without tls=true"),
        ("h/shop?tls=true&cert=/c.pem", "cert= and key= together"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(rest: str, words: str) -> None:
    with pytest.raises(ProfileError, match=words) as caught:
        read(f"cassandra://user:geheim@{rest}")
    assert "geheim" not in str(caught.value)


def test_no_password_is_shown() -> None:
    assert "geheim" not in repr(read("cassandra://user:geheim@h/shop"))
