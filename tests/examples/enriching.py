"""What the enrichment example makes of records, and Anna, whom its four sources know."""

from typing import Any

from aiohttp import web

from examples.enrichment import WORKFLOW
from examples.workflow import Options, Row

ASKED = "/{source}/{name}"  # the path at which each source is asked
ANSWERS = {
    "people": {"name": "Anna Sato", "handle": "anna", "city": "Oslo", "company": "inc.example"},
    "places": {"city": "Oslo", "country": "Norway", "country_code": "NO"},
    "social": {"handle": "anna", "followers": 3},
    "companies": {"domain": "inc.example", "name": "Inc"},
}
ANNA = {
    "name": "Anna Sato",
    "email": "anna@inc.example",
    "handle": "anna",
    "city": "Oslo",
    "company": "inc.example",
}


def answer(request: web.Request) -> web.Response:
    return web.json_response(ANSWERS[request.match_info["source"]])


async def enrich(records: list[Any], services: str | None = None) -> list[Row]:
    options = Options(records=records, services=services)
    shared = WORKFLOW.prepare(options)
    await WORKFLOW.build(options).run_async(shared)
    return list(WORKFLOW.rows(shared))
