from __future__ import annotations

import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from penstock import profile
from penstock.errors import ProfileError

TOML = """
[profiles.cluster]
home = "postgresql://${U}:${P}@localhost/${DB}?schema=x"
log = "kafka://${BROKERS}"
[profiles.cluster.stores]
warehouse = "postgresql://me:pa$$wor${P}d@[::1]:5432/db"
whole = "${WHOLE}"
serving = "cassandra://${HOST:-localhost}/${KEYSPACE:-spark_streams}"
files = "file:///var/data"
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "penstock.toml"
    path.write_text(TOML)
    values = {
        "U": "ann",
        "P": "p@ss/w:rd?#${U}%$$",
        "DB": "a b",
        "BROKERS": "one:9092,two:9092",
        "WHOLE": "postgresql://u:p@h/d?sslmode=require",
        "KEYSPACE": "",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return path


def test_variables_are_filled_in_after_the_url_is_split(cluster: Path) -> None:
    found = profile.load(cluster, "cluster")
    password = "p%40ss%2Fw%3Ard%3F%23%24%7BU%7D%25%24%24"
    assert found.home == f"postgresql://ann:{password}@localhost/a%20b?schema=x"
    assert found.log == "kafka://one:9092,two:9092"
    assert {name: store.url for name, store in found.stores.items()} == {
        "warehouse": f"postgresql://me:pa%24wor{password}d@[::1]:5432/db",
        "whole": "postgresql://u:p@h/d?sslmode=require",
        "serving": "cassandra://localhost/spark_streams",
        "files": "file:///var/data",
    }
    assert found.store("files").scheme == "file"


@given(user=st.text(min_size=1), password=st.text(), name=st.text())
def test_any_value_survives_in_its_place(user: str, password: str, name: str) -> None:
    for text in (user, password, name):
        assume("\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text))
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "p.toml"
        path.write_text(
            '[profiles.x]\nhome = "postgresql://${PS_U}:a${PS_P}@h:5432/${PS_D}"\nlog = "kafka://k"'
        )
        for variable, value in (("PS_U", user), ("PS_P", password), ("PS_D", name)):
            patch.setenv(variable, value)
        home = urlsplit(profile.load(path, "x").home)
    assert (home.hostname, home.port) == ("h", 5432)
    assert unquote(home.username or "") == user
    assert unquote(home.password or "") == "a" + password
    assert unquote(home.path) == "/" + name


def test_secrets_are_not_in_a_repr(cluster: Path) -> None:
    shown = repr(profile.load(cluster, "cluster"))
    assert "warehouse" in shown
    assert "ss%2Fw" not in shown
    assert "sslmode" not in shown


def test_an_unset_variable_is_an_error_that_names_it(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BROKERS")
    with pytest.raises(ProfileError, match=r"cluster\] log needs .* BROKERS"):
        profile.load(cluster, "cluster")


def test_the_embedded_profile_has_every_store() -> None:
    found = profile.load()
    assert (found.home, found.log, found.embedded) == ("embedded:", "embedded:", True)
    assert found.store("ware house").url == "embedded:?schema=ware%20house"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = ", "not TOML"),
        ("[profile.x]\n", "unknown table 'profile'"),
        ("[profiles]\nx = 1\n", "must be a table"),
        ("[profiles.embedded]\n", "built in"),
        ("[profiles.y]\nhome = 'a'\n", "no profile 'x'; there are embedded, y"),
        ("[profiles.x]\nhome = 'postgresql:///h'\n", "lacks 'log'"),
        ("[profiles.x]\nhom = 'postgresql:///h'\n", "unknown setting 'hom'"),
        ("[profiles.x]\nhome = 7\n", "must be a URL, not 7"),
        ("[profiles.x]\nhome = 'postgresql://$USER@h'\n", r"a lone '\$'"),
        ("[profiles.x]\nhome = 'postgresql://${U-}@h'\n", r"a lone '\$'"),
        ("[profiles.x]\nstores = 'w'\n", "stores must be a table"),
        ("[profiles.x.stores.s]\nuri = 'w'\n", "unknown setting 'uri'; there are url and tables"),
        ("[profiles.x.stores.s]\ntables = {}\n", "must be a URL, not None"),
        ("[profiles.x]\nhome = 'a'\nlog = 'b'\nformat = 'avro'\n", "add registry ="),
        ("[profiles.x]\nhome = 'a'\nlog = 'b'\nformats = {t = 'xml'}\n", "no format 'xml'"),
    ],
)
def test_a_wrong_file_is_told(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match=words):
        profile.load(path, "x")


def test_a_missing_file_and_store_are_told(tmp_path: Path, cluster: Path) -> None:
    with pytest.raises(ProfileError, match="no profile file"):
        profile.load(tmp_path / "none.toml", "x")
    with pytest.raises(ProfileError, match=r"no store 'lake' \(it has 'warehouse', 'whole'"):
        profile.load(cluster, "cluster").store("lake")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:secret@h/d", "postgresql://ann:***@h/d"),
        ("postgresql://ann:se@cr/et@h/d", "postgresql://ann:***@h/d"),
        ("postgresql://:secret@h/d", "postgresql://:***@h/d"),
        ("at postgresql+x://u:p@h, retry", "at postgresql+x://u:***@h, retry"),
        ("postgresql://h/d?password=secret&x=1", "postgresql://h/d?password=***&x=1"),
        ("host=h password=secret user=u", "host=h password=*** user=u"),
        ("host=h password='se cret' user=u", "host=h password=*** user=u"),
        ("https://h/?api_key=k&access_token=t", "https://h/?api_key=***&access_token=***"),
        ("postgresql://ann@h/d", "postgresql://ann@h/d"),
        ("no secret: at 10:30 a@b", "no secret: at 10:30 a@b"),
    ],
)
def test_redact(text: str, shown: str) -> None:
    assert profile.redact(text) == shown


def test_a_variable_of_a_program_is_read_when_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    named = profile.env("SOME_KEY")
    with pytest.raises(ProfileError, match="SOME_KEY is not set"):
        named.resolve()
    monkeypatch.setenv("SOME_KEY", "now")
    assert named.resolve() == "now"
    assert profile.env("OTHER_KEY", "default").resolve() == "default"
    assert "now" not in repr(named)


def test_topics_hold_avro_where_there_is_a_registry_unless_told_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(
        "[profiles.x]\nhome = 'postgresql:///h'\nlog = 'kafka://k'\nregistry = 'http://r'\n"
        "formats = {orders = 'json-schema'}\n"
        "[profiles.y]\nhome = 'postgresql:///h'\nlog = 'kafka://k'\n"
    )
    found = profile.load(path, "x")
    assert [found.format_of(topic) for topic in ("users", "orders")] == ["avro", "json-schema"]
    assert profile.load(path, "y").format_of("users") == "json"


def test_a_store_may_have_settings_for_its_tables(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(
        "[profiles.x]\nhome = 'postgresql:///h'\nlog = 'kafka://k'\n"
        "[profiles.x.stores.s]\nurl = 'cassandra://c/k'\ntables.users = {ttl = '30d'}\n"
    )
    store = profile.load(path, "x").store("s")
    assert (store.url, store.tables) == ("cassandra://c/k", {"users": {"ttl": "30d"}})


def test_the_services_settings_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert profile.services_settings() == {}
    path = tmp_path / "penstock.toml"
    path.write_text("[services.kafka]\nport = 1\n")
    assert profile.services_settings() == {"kafka": {"port": 1}}
    path.write_text("services = 3\n")
    with pytest.raises(ProfileError, match=r"tables \[services.NAME\]"):
        profile.services_settings(path)


def test_a_profile_set_apart_has_names_of_its_own(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_NAMESPACE", "trial")
    found = profile.load(cluster, "cluster")
    assert found.home.endswith("@localhost/trial_a%20b?schema=x")
    assert found.log == "kafka://one:9092,two:9092"
    assert found.store("warehouse").url.endswith("@[::1]:5432/trial_db")
    assert found.store("files").url == "file:///var/trial_data"
    assert urlsplit(found.store("serving").url).path == "/trial_spark_streams"
    assert profile.load(name="embedded").home == "embedded:"


def test_a_store_in_kafka_has_formats_and_a_prefix(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(
        "[profiles.x]\nhome = 'postgresql:///h'\nlog = 'kafka://k'\nregistry = 'http://r'\n"
        "[profiles.x.stores]\nplain = 'kafka://p'\n"
        "[profiles.x.stores.own]\nurl = 'kafka://o'\nregistry = 'http://o'\nprefix = 'shop.'\n"
    )
    found = profile.load(path, "x")
    plain, own = found.store("plain"), found.store("own")
    assert (plain.format, plain.registry, plain.prefix) == ("json", "http://r", "")
    assert (own.format, own.registry, own.prefix) == ("avro", "http://o", "shop.")
    apart = profile.apart.apart(found, "trial")
    assert [apart.store(name).prefix for name in ("plain", "own")] == ["trial_", "trial_shop."]
