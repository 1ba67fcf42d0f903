"""Made-up people with the fields and habits of the random-user API, the same for the same seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

Document = dict[str, Any]

EPOCH = datetime(1945, 1, 1, tzinfo=UTC)
TODAY = datetime(2026, 1, 1, tzinfo=UTC)  # ages must not depend on the day of the run


@dataclass(frozen=True)
class Nation:
    """How people of one nationality are called, live and are numbered."""

    code: str
    country: str
    female: str
    male: str
    last: str
    streets: str
    places: str
    postcode: Callable[[Random], int | str]
    phone: str
    id_name: str = ""
    id_value: str = ""


def _number(low: int, high: int) -> Callable[[Random], int]:
    return lambda random: random.randint(low, high)


def _form(form: str) -> Callable[[Random], str]:
    return lambda random: _filled(form, random)


def _filled(form: str, random: Random) -> str:
    """Fill a form: # is a digit, ? a capital letter."""
    letters = "ABCDEFGHJKLMNPRSTUVWXYZ"
    digits = {"#": lambda: str(random.randrange(10)), "?": lambda: random.choice(letters)}
    return "".join(digits[c]() if c in digits else c for c in form)


NATIONS = (
    Nation(
        "US", "United States", "Olivia Emma Grace Wanda Tamara", "Liam Noah Marvin Terry Dwayne",
        "Johnson|Alvarez|Kim|O'Brien|Washington", "Valwood Pkwy|Elm Dr|W Sherman St",
        "Billings,Michigan|Austin,Texas|Salem,Oregon", _number(10000, 99999), "(###) ###-####",
        "SSN", "###-##-####",
    ),
    Nation(
        "GB", "United Kingdom", "Poppy Florence Isla Gwen", "Alfie Harvey Nigel Rhys",
        "Smith|Llewellyn|Campbell|Patel", "High Street|Church Lane|The Crescent",
        "Bath,Avon|Leeds,West Yorkshire|Truro,Cornwall", _form("??# #??"), "0#### ######",
        "NINO", "?? ## ## ## ?",
    ),
    Nation(
        "CA", "Canada", "Chloé Hannah Maélie", "Étienne Logan William",
        "Tremblay|Roy|Singh|Bélanger", "Rue Saint-Jacques|Lakeview Ave|Dundas Rd",
        "Trois-Rivières,Québec|Moncton,New Brunswick|Regina,Saskatchewan", _form("?#? #?#"),
        "###-###-####", "SIN", "#########",
    ),
    Nation(
        "FR", "France", "Zoé Éléonore Anaïs Inès", "Théo François Loïc Gaël",
        "Lefèvre|Dupont|Garnier|Müller", "Rue de l'Abbé-Grégoire|Place du 8 Février 1962",
        "Nîmes,Gard|Orléans,Loiret|Saint-Étienne,Loire", _number(1000, 95999), "0#-##-##-##-##",
        "INSEE", "2########### ##",
    ),
    Nation(
        "DE", "Germany", "Käthe Jördis Ute Annika", "Jürgen Björn Günther Uwe",
        "Müller|Weiß|Schröder|Kühn", "Schulstraße|Am Mühlbach|Königsallee",
        "Köln,Nordrhein-Westfalen|Jöhstadt,Sachsen|Fürth,Bayern", _number(10000, 99999),
        "0###-#######", "SVNR", "## ###### ? ###",
    ),
    Nation(
        "NO", "Norway", "Åse Solveig Ingrid", "Øyvind Håkon Bjørn",
        "Ødegård|Bakken|Sæther", "Øvre Slottsgate|Ferner Jacobsens gate",
        "Ålesund,Møre og Romsdal|Tromsø,Troms", _form("0###"), "########", "FN", "###########",
    ),
    Nation(
        "BR", "Brazil", "Luíza Conceição Iara", "João Sebastião Caíque",
        "da Conceição|Araújo|Gonçalves", "Rua São Luiz|Avenida Brasil",
        "São Paulo,São Paulo|Maceió,Alagoas", _number(10000, 99999), "(##) ####-####",
        "CPF", "###.###.###-##",
    ),
    Nation(
        "UA", "Ukraine", "Соломія Оксана Ярослава", "Богдан Тарас Дмитро",
        "Шевченко|Коваль|Їжакевич", "Хрещатик|Вулиця Лесі Українки",
        "Київ,Київська|Львів,Львівська", _number(10000, 99999), "(0##) ?##-####",
    ),
    Nation(
        "IR", "Iran", "نازنین آیلین ستایش", "امیرعلی پارسا محمد", "حسینی|کریمی|رضایی",
        "میدان آزادی|ولیعصر", "اصفهان,اصفهان|تهران,تهران", _number(10000, 99999), "0##-########",
    ),
    Nation(
        "NL", "Netherlands", "Sanne Fleur Noëlle", "Daan Joël Sjoerd", "de Vries|van 't Hof|Bakker",
        "Prinsengracht|'s-Gravenweg", "Den Haag,Zuid-Holland|Groningen,Groningen",
        _form("#### ??"), "(###)-###-####", "BSN", "########",
    ),
)  # fmt: skip
CODES = tuple(nation.code for nation in NATIONS)

ZONES = (("-8:00", "Pacific Time (US & Canada)"), ("0:00", "Western Europe Time, London"),
         ("+3:30", "Tehran"), ("+5:30", "Bombay, Calcutta, Madras, New Delhi"))  # fmt: skip


def person(random: Random, nations: tuple[str, ...] = CODES, gender: str | None = None) -> Document:
    """Make up one person, with the fields of the API in its order."""
    nation = random.choice([nation for nation in NATIONS if nation.code in nations])
    gender = gender or random.choice(("female", "male"))
    first = random.choice(getattr(nation, gender).split())
    last = random.choice(nation.last.split("|"))
    number = random.randrange(1, 100)
    portrait = f"{'women' if gender == 'female' else 'men'}/{number}.jpg"
    return {
        "gender": gender,
        "name": {"title": _title(gender, random), "first": first, "last": last},
        "location": _location(nation, random),
        "email": f"{_ascii(first)}.{_ascii(last)}{number}@example.com",
        "login": _login(random),
        "dob": _event(random, 18, 80),
        "registered": _event(random, 1, 20),
        "phone": _filled(nation.phone, random),
        "cell": _filled(nation.phone, random),
        "id": _id(nation, random),
        "picture": {
            "large": f"https://randomuser.me/api/portraits/{portrait}",
            "medium": f"https://randomuser.me/api/portraits/med/{portrait}",
            "thumbnail": f"https://randomuser.me/api/portraits/thumb/{portrait}",
        },
        "nat": nation.code,
    }


def _title(gender: str, random: Random) -> str:
    return random.choice(
        ("Ms", "Mrs", "Miss", "Madame") if gender == "female" else ("Mr", "Monsieur")
    )


def _location(nation: Nation, random: Random) -> Document:
    city, state = random.choice(nation.places.split("|")).split(",")
    offset, description = random.choice(ZONES)
    return {
        "street": {
            "number": random.randrange(1, 9999),
            "name": random.choice(nation.streets.split("|")),
        },
        "city": city,
        "state": state,
        "country": nation.country,
        "postcode": nation.postcode(random),
        "coordinates": {
            "latitude": f"{random.uniform(-90, 90):.4f}",
            "longitude": f"{random.uniform(-180, 180):.4f}",
        },
        "timezone": {"offset": offset, "description": description},
    }


def _login(random: Random) -> Document:
    password = random.choice(("trustno1", "dragon", "sunshine", "qwerty", "monkey"))
    salt = _filled("????????", random)
    salted = (password + salt).encode()
    animal = random.choice(("Lion", "Gorilla", "Swan", "Ostrich", "Bear"))
    colour = random.choice(("yellow", "tiny", "sad", "crazy", "purple"))
    return {
        "uuid": str(UUID(int=random.getrandbits(128), version=4)),
        "username": f"{colour}{animal.lower()}{random.randrange(100, 999)}",
        "password": password,
        "salt": salt,
        "md5": hashlib.md5(salted, usedforsecurity=False).hexdigest(),
        "sha1": hashlib.sha1(salted, usedforsecurity=False).hexdigest(),
        "sha256": hashlib.sha256(salted).hexdigest(),
    }


def _event(random: Random, youngest: int, oldest: int) -> Document:
    age = random.randrange(youngest, oldest)
    days = timedelta(
        days=age * 365.25 + random.uniform(0, 365), milliseconds=random.randrange(1000)
    )
    date = max(TODAY - days, EPOCH)
    return {"date": date.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "age": age}


def _id(nation: Nation, random: Random) -> Document:
    value = _filled(nation.id_value, random) if nation.id_name else None
    return {"name": nation.id_name, "value": value}


def _ascii(name: str) -> str:
    """What such names become in an address; a name without Latin letters is spelt by numbers."""
    plain = "".join(c for c in name.lower() if c.isascii() and c.isalpha())
    return plain or f"u{sum(map(ord, name))}"


def _set(document: Document, path: str, value: object) -> None:
    *parents, last = path.split(".")
    for name in parents:
        document = document[name]
    if value is _GONE:
        del document[last]
    else:
        document[last] = value


_GONE = object()

DEFECTS: tuple[tuple[str, object], ...] = (
    ("email", "nobody at example.com"),
    ("dob.date", "1990-05-17T10:20:30"),
    ("login", _GONE),
    ("location.street.number", "12 b"),
    ("gender", 1),
    ("login.uuid", "not-a-uuid"),
    ("name.first", None),
)
"""What may be wrong with a person: a field's path, and its value or that it is missing."""


def spoil(document: Document, nth: int) -> Document:
    """Break the document in the nth of several ways."""
    _set(document, *DEFECTS[nth % len(DEFECTS)])
    return document
