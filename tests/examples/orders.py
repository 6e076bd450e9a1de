"""An order in which nothing is wrong, and orders that differ from it."""

from typing import Any

ORDER: dict[str, Any] = {
    "id": 1,
    "name": "Siobhán O'Brien",
    "email": "siobhan.o'brien@example.com",
    "birth_date": "1990-05-17",
    "country": "IE",
    "plan": "team",
    "seats": 3,
    "amount": 27.0,
    "currency": "EUR",
    "ordered": "2026-03-02",
    "delivered": None,
    "comment": "",
}


def order(**changes: Any) -> dict[str, Any]:
    return ORDER | changes
