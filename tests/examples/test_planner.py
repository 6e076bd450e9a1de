"""Free text planned by a language model, against a server that speaks the protocol."""

import asyncio
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples import planner
from examples.planner import chooser
from examples.prompt import NotUnderstoodError, by_words, understand
from examples.workflow import NAMES
from tests.chat_server import Answer, ChatServer, Fails, Says, Sends, Waits
from tests.children import python

pytestmark = pytest.mark.anyio

MAIN = str(Path(__file__).parents[2] / "main.py")
KEY = "sk-5ecret-0123456789"
V, E, B, M, P = NAMES


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "MODEL", "KEY"):
        monkeypatch.delenv(f"KAYGRAPH_LLM_{name}", raising=False)


def plan(*names: str) -> Says:
    return Says(json.dumps({"workflows": names}))


async def planned(
    monkeypatch: pytest.MonkeyPatch, text: str, *answers: Answer, key: str | None = None
) -> tuple[Any, list[str], ChatServer]:
    """Understand a text with a model that gives an answer; return the request and messages."""
    lines: list[str] = []
    async with ChatServer(*answers, key=key) as server:
        monkeypatch.setenv("KAYGRAPH_LLM_URL", server.url)
        request = await asyncio.to_thread(understand, text, chooser(lines.append))
    return request, lines, server


def test_without_an_address_the_words_choose() -> None:
    """There is no request and no message."""
    lines: list[str] = []
    assert chooser(lines.append) is by_words
    assert lines == []


async def test_the_model_chooses_and_orders(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no word names is planned, each workflow once."""
    monkeypatch.setenv("KAYGRAPH_LLM_MODEL", "tiny")
    text = "look these people up, then see whether all is in order, with 3 workers"
    with pytest.raises(NotUnderstoodError):
        understand(text)
    request, lines, server = await planned(monkeypatch, text, plan(E, V, E))
    assert (request.workflows, request.workers, request.notes) == ([E, V], 3, ["planned by tiny"])
    assert lines == []
    (body,) = server.bodies
    assert body["model"] == "tiny"
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["workflows"]["items"]["enum"] == list(NAMES)
    assert all(name in body["messages"][0]["content"] for name in NAMES)


async def test_the_model_sees_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records in the text stay here: the model gets the words around them."""
    text = 'check {"name": "Ada Lovelace"} and ada@example.com "a secret"'
    request, _, server = await planned(monkeypatch, text, plan(V))
    assert request.found.records == [{"name": "Ada Lovelace"}, {"email": "ada@example.com"}]
    sent = json.dumps(server.bodies)
    assert "check" in sent
    assert not any(word in sent for word in ("Lovelace", "ada@", "secret"))


async def test_the_key_goes_to_the_server_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refused key, repeated by the server, is not shown."""
    monkeypatch.setenv("KAYGRAPH_LLM_KEY", KEY)
    request, lines, _ = await planned(monkeypatch, "validate", plan(E), key=KEY)
    assert (request.workflows, lines) == ([E], [])
    request, lines, server = await planned(monkeypatch, "validate", plan(E), key="another")
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert request.workflows == [V]
    (line,) = lines
    assert "Incorrect API key" in line
    assert KEY not in line


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Fails(404, "no such model"), "no such model"),
        (Fails(503, headers={"Retry-After": "0"}), "answered 503"),
        (Fails(429, headers={"Retry-After": "600"}), "answered 429"),
        (Says("validation"), "not JSON"),
        (Says('{"workflows": ["validation", "format_disk"]}'), "'format_disk' is not one of"),
        (Says('{"workflows": "validation"}'), "is not of type 'array'"),
        (Says('{"workflows": [], "run": "rm"}'), "unexpected"),
        (plan(), "it chose no workflow"),
        (Says(None, refusal="No."), "refused"),
        (Sends("<html>Not here</html>", "text/html"), "not a chat completion"),
        (Waits(asyncio.Event()), "timeout=1"),
    ],
)
async def test_when_the_model_fails_the_words_choose(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, reason: str
) -> None:
    """One line says why, and the rest is as without a model."""
    monkeypatch.setattr(planner, "TIMEOUT_S", 1.0)
    request, lines, _ = await planned(monkeypatch, "validate and enrich this", answer)
    assert request == understand("validate and enrich this")
    (line,) = lines
    assert line.startswith("the model of KAYGRAPH_LLM_URL made no plan, so keywords decide: ")
    assert reason in line
    assert "\n" not in line


async def test_a_person_waits_for_one_answer_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is out of order is asked once; without a name the model is the server's own."""
    fails = Fails(503, headers={"Retry-After": "0"})
    _, _, server = await planned(monkeypatch, "validate", fails)
    assert [body["model"] for body in server.bodies] == ["default"]


async def test_a_key_of_a_file_may_end_with_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `$(cat key)` would not, but an environment file may."""
    monkeypatch.setenv("KAYGRAPH_LLM_KEY", f" {KEY}\n")
    request, lines, _ = await planned(monkeypatch, "validate", plan(E), key=KEY)
    assert (request.workflows, lines) == ([E], [])


async def test_what_is_no_http_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a stranger at that address says, it cannot write over the terminal."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"\x1b[2J\r\nforged: all is well\r\n\r\n")
        writer.close()

    stranger = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = stranger.sockets[0].getsockname()[1]
    monkeypatch.setenv("KAYGRAPH_LLM_URL", f"http://127.0.0.1:{port}/v1")
    lines: list[str] = []
    request = await asyncio.to_thread(understand, "validate", chooser(lines.append))
    stranger.close()
    await stranger.wait_closed()
    assert request.workflows == [V]
    (line,) = lines
    assert line.isprintable()
    assert line.startswith("the model of KAYGRAPH_LLM_URL made no plan")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:{port}/v1", "Connection refused"),
        ("localhost:8080", "must begin with http"),
        ("http://me:hunter2@127.0.0.1/v1", "contains a user"),
    ],
)
def test_an_address_without_a_model_is_reported(
    monkeypatch: pytest.MonkeyPatch, url: str, reason: str
) -> None:
    """A server that is down, or no address at all, keeps nothing from running."""
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(planner, "TIMEOUT_S", 1.0)
        monkeypatch.setenv("KAYGRAPH_LLM_URL", url.format(port=taken.getsockname()[1]))
        lines: list[str] = []
        assert understand("validate", chooser(lines.append)).workflows == [V]
    (line,) = lines
    assert reason in line
    assert "hunter2" not in line


async def test_what_neither_understands_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that chooses nothing leaves the refusal to the words."""
    with pytest.raises(NotUnderstoodError, match="do not understand 'sandwich'"):
        await planned(monkeypatch, "make me a sandwich", plan())


async def run(url: str, *words: str, text: str = "") -> tuple[int, str, str]:
    """Call the command with a model at ``url``: exit code, standard output, standard error."""
    model = {"KAYGRAPH_LLM_URL": url, "KAYGRAPH_LLM_MODEL": "tiny"}
    done = await asyncio.to_thread(python, MAIN, *words, text=text, env=model)
    return done.returncode, done.stdout, done.stderr


ASKS: list[tuple[str, Callable[[str], Any]]] = [
    ("the command", lambda url: run(url, 'are these fine? {"name": "Ada"}')),
    ("the prompt", lambda url: run(url, "--interactive", text='are these fine? {"name": "Ada"}\n')),
]


@pytest.mark.parametrize(("way", "ask"), ASKS, ids=[way for way, _ in ASKS])
async def test_free_text_is_planned_and_run(way: str, ask: Callable[[str], Any]) -> None:
    """From the command line and in the prompt, what the model has chosen runs."""
    async with ChatServer(plan(V)) as server:
        code, out, _ = await ask(server.url)
    assert code == 0
    assert "Understood: validation, on" in out
    assert "planned by tiny" in out
    assert len(server.bodies) == 1


@pytest.mark.proofs
async def test_a_failing_model_changes_one_line_only() -> None:
    """Standard output and the exit code are those of a command without a model."""
    words = ("--json", 'validate {"name": "Ada"}')
    async with ChatServer(Fails(400, "no")) as server:
        code, out, errors = await run(server.url, *words)
        assert len(server.bodies) == 1
    row, report = out.splitlines()
    assert "report" in json.loads(report)
    plain_code, plain_out, _ = await run("", *words)
    assert (code, row) == (plain_code, plain_out.splitlines()[0])
    assert code == 0
    assert len([line for line in errors.splitlines() if "KAYGRAPH_LLM_URL" in line]) == 1
