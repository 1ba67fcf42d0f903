from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.errors import ProfileError
from penstock.services import settings, table
from penstock.services.settings import Defaults

DEFAULTS = Defaults(port=9092, memory="512m", folder="kafka")


def read(**values: Any) -> settings.Settings:
    return settings.read("kafka", values, DEFAULTS, Path("/base"))


def test_what_is_not_set_has_a_default() -> None:
    found = read()
    assert (found.port, found.internal_port, found.memory) == (9092, 9093, "512m")
    assert (found.data, found.timeout, found.settings) == (Path("/base/kafka"), 120.0, {})


def test_everything_can_be_set() -> None:
    found = read(
        port=1, internal_port=7, memory="1G", data="x", timeout="90s", settings={"a.b": True}
    )
    assert (found.port, found.internal_port, found.memory) == (1, 7, "1g")
    assert (found.data, found.timeout) == (Path.cwd() / "x", 90.0)
    assert found.settings == {"a.b": True}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prot": 1}, "[services.kafka] has an unknown setting 'prot'; there are port, "),
        ({"port": "9092"}, "[services.kafka] port must be a number from 1 to 65535, not '9092'"),
        ({"port": True}, "port must be a number"),
        ({"port": 0}, "not 0"),
        ({"port": 65536}, "not 65536"),
        ({"internal_port": -1}, "[services.kafka] internal_port must be a number"),
        ({"memory": 512}, "[services.kafka] memory must be a size such as '512m' or '1g', not 512"),
        ({"memory": "512"}, "not '512'"),
        ({"memory": "0m"}, "not '0m'"),
        ({"data": ""}, "[services.kafka] data must be the path of a folder, not ''"),
        ({"data": 3}, "not 3"),
        ({"timeout": "soon"}, "[services.kafka] timeout: 'soon' is not a duration"),
        ({"settings": "a=b"}, "[services.kafka] settings must be a table, not 'a=b'"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ProfileError) as refused:
        read(**wrong)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"kafak": {}}, "[services] has an unknown setting 'kafak'; there are kafka, registry, "),
        ({"kafka": 3}, "[services.kafka] must be a table, not 3"),
        ({"embedded": {"port": 1}}, "[services.embedded] is not needed"),
    ],
)
def test_wrong_tables_are_named(tables: dict[str, Any], said: str) -> None:
    with pytest.raises(ProfileError) as refused:
        table.several(table.NAMES, tables, Path("/base"))
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"core": 1}, "has an unknown setting 'core'; there are port, internal_port, memory, "),
        ({"core": 1}, ", settings, cores, workers; what spark itself knows"),
        ({"cores": -1}, "[services.spark] cores must be a whole number from 0 on, not -1"),
        ({"workers": 0}, "[services.spark] workers must be a whole number from 1 on, not 0"),
        ({"workers": True}, "not True"),
    ],
)
def test_a_wrong_setting_of_spark_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ProfileError) as refused:
        table.get("spark", wrong)
    assert said in str(refused.value)


def test_spark_is_started_only_by_its_name() -> None:
    assert "spark" in table.NAMES
    assert "spark" not in table.STACK


def test_a_service_that_there_is_not_is_named() -> None:
    with pytest.raises(ProfileError, match="no service 'kafak'; there are kafka, registry, "):
        table.get("kafak")


def test_each_server_has_a_folder_of_its_own() -> None:
    services = table.several([*table.NAMES, "kafka"], {"mirror": "http://x"}, Path("/base"))
    assert [service.name for service in services] == list(table.NAMES)
    assert len({service.log.parent for service in services}) == len(table.NAMES)
