"""What people type, terse and chatty, and the result of each: a run, help, or a question."""

from pathlib import Path

import pytest

from examples.command import make_requested, refuse_to_overwrite, with_output
from examples.inputs import InputError
from examples.prompt import HelpAsked, understand
from examples.workflow import NAMES, Options

V, E, B, M, P = NAMES
PEOPLE = "name,email\nMira,mira@example.com\nAda,ada@example.com\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a few files and folders; some are called like common words."""
    monkeypatch.chdir(tmp_path)
    for name in ("people.csv", "good.csv", "my own people.csv"):
        Path(name).write_text(PEOPLE)
    for folder in ("txt", "src", "logs", "data"):
        Path(folder).mkdir()
    Path("notes.txt").write_text("the cat the dog\n")
    Path("txt/a.txt").write_text("the cat\n")
    Path("src/a.py").write_text("x = 1\n")


def read(text: str) -> tuple[list[str], list[str], int, str | None]:
    """What a text is understood as: workflows, files, how many records in it, the output."""
    request = understand(text)
    found = request.found
    return request.workflows, found.files, len(found.records or ()), found.output


JSON = '{"email": "mira@example.com"}'


@pytest.mark.parametrize(
    ("text", "workflows", "files", "records"),
    [
        # data alone
        (JSON, [V, E], [], 1),
        (f"[{JSON}, {JSON}]", [V, E], [], 2),
        (f"{JSON}\n{JSON}\n{JSON}", [V, E], [], 3),
        (f"{JSON}, {JSON}", [V, E], [], 2),
        (PEOPLE, [V, E], [], 2),
        (PEOPLE.replace(",", ";"), [V, E], [], 2),
        (PEOPLE.replace("\n", "\\n"), [V, E], [], 2),
        ("email\nmira@example.com\nada@example.com", [V, E], [], 2),
        ("mira@example.com", [V, E], [], 1),
        ("people.csv", [V, E], ["people.csv"], 0),
        (f"here's my data: [{JSON}]", [V, E], [], 1),
        # with a task
        (f"validate these:\n{PEOPLE}", [V], [], 2),
        (f"Enrich this, please: {PEOPLE}", [E], [], 2),
        ("validate people.csv", [V], ["people.csv"], 0),
        ("VALIDATE PEOPLE.CSV!!!", [V], ["people.csv"], 0),
        ("hey, could you please verify `people.csv` for me?", [V], ["people.csv"], 0),
        ("Good morning! We'd like people.csv validated today", [V], ["people.csv"], 0),
        ("validate people.csv and print the results", [V], ["people.csv"], 0),
        ("hash .", [B], ["./"], 0),
        ("validate my own people.csv", [V], ["people.csv"], 0),
        ("enrich 'my own people.csv'", [E], ["my own people.csv"], 0),
        ("count the words in txt", [M], ["txt"], 0),
        ("how often does each word occur in notes.txt?", [M], ["notes.txt"], 0),
        ("hash everything in src", [B], ["src"], 0),
        ("how many functions are in src", [B], ["src"], 0),
        ("checksum of logs", [B], ["logs"], 0),
        ("count the words in data", [M], ["data"], 0),
        ("validate this data", [V], [], 0),
        # questions
        ("are the records in good.csv ok?", [V], ["good.csv"], 0),
        ("i want to know if people.csv is valid", [V], ["people.csv"], 0),
        ("what's wrong with good.csv", [V], ["good.csv"], 0),
        (f"Is this all right? {JSON}", [V], [], 1),
        ("Tell me about mira@example.com", [E], [], 1),
        ("where is mira@example.com from", [E], [], 1),
        ("who is mira@example.com??", [E], [], 1),
        ("look up mira@example.com and ada@example.com", [E], [], 2),
        # slips
        ("vaildate people.csv", [V], ["people.csv"], 0),
        ("pls chek good.csv", [V], ["good.csv"], 0),
        ("validte and enrch people.csv", [V, E], ["people.csv"], 0),
        # German
        ("Prüfe bitte people.csv", [V], ["people.csv"], 0),
        ("Sind die Datensätze in good.csv in Ordnung?", [V], ["good.csv"], 0),
        ("Zähle die Wörter in notes.txt", [M], ["notes.txt"], 0),
        ("Reichere people.csv an", [E], ["people.csv"], 0),
        ("Was weißt du über mira@example.com?", [E], [], 1),
    ],
)
def test_what_is_certain_is_begun(
    text: str, workflows: list[str], files: list[str], records: int
) -> None:
    """With the data that the text names, and no other."""
    assert read(text) == (workflows, files, records, None)


@pytest.mark.parametrize(
    ("text", "workflows", "files", "output"),
    [
        ("validate people.csv and save to out.jsonl", [V], ["people.csv"], "out.jsonl"),
        ("validate people.csv output=out.jsonl", [V], ["people.csv"], "out.jsonl"),
        ("validate people.csv|enrich", [V, E], ["people.csv"], None),
        ("validate people.csv,good.csv", [V], ["people.csv", "good.csv"], None),
        ("validate people.csv > out.json", [V], ["people.csv"], "out.json"),
        ("validate people.csv >out.json", [V], ["people.csv"], "out.json"),
        ("enrich people.csv, then write the report into x", [E], ["people.csv"], "x"),
        ("validate people.csv to out.jsonl", [V], ["people.csv"], "out.jsonl"),
        ("save out.jsonl after validating people.csv", [V], ["people.csv"], "out.jsonl"),
        ("write the validation of people.csv to o/r.jsonl", [V], ["people.csv"], "o/r.jsonl"),
        ('validate people.csv; output to "my out.jsonl"', [V], ["people.csv"], "my out.jsonl"),
        ("Put the words of notes.txt, counted, in w.jsonl!", [M], ["notes.txt"], "w.jsonl"),
        ("validate people.csv, save everything to all.jsonl", [V], ["people.csv"], "all.jsonl"),
        ("save good.csv's validation into good.csv.jsonl", [V], ["good.csv"], "good.csv.jsonl"),
        ("stream 50 records into records.db", [P], [], "records.db"),
        ("load people.csv into people.db", [P], ["people.csv"], "people.db"),
        ("prüfe people.csv und speichere es in neu.jsonl", [V], ["people.csv"], "neu.jsonl"),
        ("prüfe people.csv und in neu.jsonl speichern", [V], ["people.csv"], "neu.jsonl"),
        ("don't save anything, just validate people.csv", [V], ["people.csv"], None),
    ],
)
def test_names_of_results_are_no_input(
    text: str, workflows: list[str], files: list[str], output: str | None
) -> None:
    """The results are written to the named file."""
    assert read(text) == (workflows, files, 0, output)


@pytest.mark.parametrize(
    "text",
    [
        "help", "Help!", "hilfe", "hlep", "?", "can you help me", "what can you do?",
        "how does this work", "how do I validate a file?", "what is validation?",
        "was kannst du?", "explain mapreduce",
    ],
)  # fmt: skip
def test_who_asks_what_there_is_gets_help(text: str) -> None:
    """And nothing is begun."""
    with pytest.raises(HelpAsked):
        understand(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("What's the weather in Paris?", "do not understand 'weather', 'paris'"),
        ("check the weather", "do not understand 'weather'"),
        ("was ist das Wetter in Paris?", "do not understand 'wetter', 'paris'"),
        ("paris", "do not understand 'paris'"),
        ("vaildate", "Did you mean validate?"),
        ("count the stars", "do not understand 'stars'"),
        ("count words", "mapreduce: which files?"),
        ("hash the files", "batch: which files?"),
        ("parse it", "batch: which files?"),
        ("tell me a joke", "do not understand 'joke'"),
        ("remove the invalid rows from people.csv", "do not understand 'remove'"),
        ("translate people.csv to German", "do not understand 'translate'"),
        ("process people.csv", "nothing to do with that data"),
        ("how many records are in people.csv?", "nothing to do with that data"),
        ("notes.txt", "nothing to do with that data"),
        ("email bob@example.com", "I do not send anything"),
        ("validate people.csv and mail the results to bob@example.com", "I do not send anything"),
        ("Mira,mira@example.com,DE", "no header"),
        ("validate people.csv and save", "save to which file?"),
        ("save people.csv as json", "save to which file?"),
        ("validate people.csv to good.csv", "is good.csv to be read or written?"),
        ("validate peple.csv", "Did you mean 'people.csv'?"),
        ("validate https://example.com/a.csv", "save it to a file"),
        ("hash all my files", "batch: which files?"),
        ("analyse everything", "batch: which files?"),
        ("count the words in all files", "mapreduce: which files?"),
        ("batch all the things", "batch: which files?"),
        ("run batch on my files", "batch: which files?"),
        ("batch rename my files", "do not understand 'rename'"),
        ("check out this song", "do not understand 'song'"),
        ("validate all the csv files here", "validation: which file?"),
        ("validate people.csv and save it", "save to which file?"),
        ("validate people.csv and save to people.csv", "name another file for the results"),
        ("validate *.csv > good.csv", "good-results.jsonl"),
        ("validate people.csv and email me the results", "I do not send anything"),
        ("validate []", "contains no records"),
        ("stream -5 records", "at least 1, got -5"),
        ("validate people.csv with -3 workers", "at least 1, got -3"),
        ("validate people.csv with 100000 workers", "at most 1,024 workers"),
        ("hello", "nothing to do"),
        ("", "nothing to do"),
    ],
)
def test_what_is_not_certain_is_asked(text: str, message: str) -> None:
    """In one line that says what to type, before any work."""

    def begin() -> None:
        request = understand(text)
        make_requested(request, with_output(Options(), request))

    with pytest.raises(InputError) as caught:
        begin()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_standard_library_is_worked_on_where_it_is_named() -> None:
    """By its name, or by that of the workflow whose sample it is."""
    for text in (
        "count the words of the standard library", "run the batch example", "batch", "do it all",
        "everything but the pipeline",
    ):  # fmt: skip
        assert understand(text).names_sample, text


def test_results_do_not_take_the_place_of_their_data(tmp_path: Path) -> None:
    """Under another name of the same file neither; a file that is new is fine."""
    (tmp_path / "link.csv").symlink_to(tmp_path / "people.csv")
    with pytest.raises(InputError, match=r"link-results\.jsonl"):
        refuse_to_overwrite(Path("link.csv"), ["people.csv"])
    refuse_to_overwrite(Path("new.csv"), ["people.csv"])
