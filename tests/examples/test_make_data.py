"""The bundled data of the examples is what it says it is."""

from datetime import date

from examples.data import make_data
from examples.services import DOWN_DOMAIN, read_places
from tests.examples.bundled import COMPANIES, DATA, FAULTS, PEOPLE, RECORDS


def test_data_files_are_what_the_script_writes() -> None:
    """Running make_data again would not change a byte."""
    for name, text in make_data.build().items():
        assert (DATA / name).read_bytes() == text.encode(), name


def test_people_and_companies_are_at_reserved_domains() -> None:
    """No address of a person and no domain of a company can belong to anybody."""
    owned = {company["domain"] for company in COMPANIES}
    assert len(owned) == len(COMPANIES) == 40
    assert all(domain.endswith(".example") for domain in owned)
    domains = {person["email"].rpartition("@")[2] for person in PEOPLE}
    assert domains <= owned | {"example.com", "example.net", "example.org"}
    assert len({person["email"] for person in PEOPLE}) == len(PEOPLE) == 200
    assert len({person["handle"] for person in PEOPLE}) == 200
    assert {person["company"] for person in PEOPLE} <= owned
    assert PEOPLE[2]["company"] == DOWN_DOMAIN == make_data.DOWN_DOMAIN


def test_every_city_of_the_data_is_a_place() -> None:
    """Each city of a person or company is in the time-zone table, in the right country."""
    places = read_places()
    for city, country in make_data.CITIES.items():
        assert places[city.replace("_", " ").casefold()]["country_code"] == country
    named = {row["city"].replace(" ", "_") for row in PEOPLE + COMPANIES}
    assert named <= set(make_data.CITIES)


def test_about_fifteen_percent_of_the_records_are_wrong() -> None:
    """faults.json names 150 of the thousand records, of sixteen kinds."""
    assert [record["id"] for record in RECORDS] == list(range(1, 1001))
    assert len(FAULTS) == 150
    assert len(set(FAULTS.values())) == 16


def test_valid_records_keep_the_three_rules() -> None:
    """Every record that is not named as wrong is whole and breaks no rule."""
    fields = set(RECORDS[0]) - {"age"}
    for record in RECORDS:
        if str(record["id"]) in FAULTS:
            continue
        assert set(record) - {"age"} == fields
        born, ordered = (date.fromisoformat(record[key]) for key in ("birth_date", "ordered"))
        age = ordered.year - born.year - ((ordered.month, ordered.day) < (born.month, born.day))
        assert age >= make_data.MIN_AGE
        assert record.get("age", age) == age
        assert record["amount"] == record["seats"] * make_data.PRICES[record["plan"]]
        assert record["seats"] >= 1
        assert record["currency"] in make_data.CURRENCIES
        if record["delivered"] is not None:
            assert date.fromisoformat(record["delivered"]) >= ordered


def test_records_hold_what_naive_checks_reject() -> None:
    """Among the valid records are quotes, SQL words, angle brackets and all alphabets."""
    valid = [record for record in RECORDS if str(record["id"]) not in FAULTS]
    texts = "\n".join(f"{r['name']} {r['email']} {r['comment']}" for r in valid)
    for tricky in ("O'Brien", "Robert Select", "drop by at noon", "<3", "+orders@", "李明"):
        assert tricky in texts
    days = {(r["birth_date"][4:], r["ordered"][4:]) for r in valid}
    assert any(born == ordered for born, ordered in days)


def test_disposable_domains_are_sorted_and_written_once() -> None:
    """The list of disposable domains is in order, in lower case, without a double."""
    lines = (DATA / "disposable_domains.txt").read_text("utf-8").splitlines()
    domains = [line for line in lines if not line.startswith("#")]
    assert domains == sorted({domain.strip().lower() for domain in domains})
    assert len(domains) >= 150
