"""What a node's results depend on: which edits of its code count, and which do not."""

import copy
import enum
import functools
import importlib
import importlib.util
import itertools
import re
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kaygraph import BatchNode, MapReduceNode, Node
from kaygraph.journal.code import Code, code_of
from kaygraph.journal.syntax import facts_of
from kaygraph.nodes import Bearer, ChatNode, FunctionNode, HTTPNode, node

SOURCE = '''\
import json

from kaygraph import Node

PROMPT = "Translate: {text}"


def cleaned(text):
    return text.strip()


class Base(Node):
    def shorten(self, text):
        return text[:100]


class Translate(Base):
    """Translates texts."""

    language = "de"

    def __init__(self, model="small", **settings):
        super().__init__(**settings)
        self.model = model
        self.seen = 0

    def prep(self, shared):
        return shared["text"]

    def exec(self, text):
        """Ask the model."""
        asked = PROMPT.format(text=cleaned(text))
        return f"{self.model}: {self.shorten(asked)} -> {self.language}"

    def exec_fallback(self, text, exc):
        return None

    def post(self, shared, text, result):
        self.seen += 1
        shared["result"] = result
'''

HARMLESS = {
    "a comment": ("        asked =", "        # what is asked for\n        asked ="),
    "the docstring of exec": (
        '"""Ask the model."""',
        '"""Ask for a translation.\n\n        Yes."""',
    ),
    "the docstring of the class": ('    """Translates texts."""\n', ""),
    "blank lines": ("        return f", "\n\n        return f"),
    "formatting": ("cleaned(text))", "cleaned(\n            text,\n        )\n        )"),
    "another quote": ('"Translate: {text}"', "'''Translate: {text}'''"),
    "annotations": ("def exec(self, text):", "def exec(self, text: str) -> str:"),
    "an annotated variable": ("asked = PROMPT", "asked: str = PROMPT"),
    "the name of a local variable": ("asked", "question"),
    "prep": ('shared["text"]', 'shared["text"].lower()'),
    "post": ('shared["result"]', 'shared["translated"]'),
    "a function that exec does not call": ("import json", "import json\n\ndef other(): return 1"),
    "a method that exec does not call": (
        "    def prep",
        "    def other(self): ...\n\n    def prep",
    ),
    "an import": ("import json", "import json, math"),
    "the name of the class": ("class Translate(", "class Translation("),
}
CHANGES = {
    "an expression of exec": ("-> {self.language}", "=> {self.language}"),
    "a log line": ("        asked =", "        self.log.info('asked')\n        asked ="),
    "the fallback": ("return None", "return ''"),
    "a method that exec calls": ("text[:100]", "text[:200]"),
    "a function that exec calls": ("text.strip()", "text.rstrip()"),
    "a constant of the module": ("Translate: {text}", "Translate this: {text}"),
    "a constant of the class": ('language = "de"', 'language = "fr"'),
    "a setting of the object": ('model="small"', 'model="large"'),
    "another attribute": ("self.shorten(asked)", "self.shorten(text)"),
    "the way it is written": ("    def exec(", "    async def exec("),
    "a decorator": ("    def exec(", "    @__import__('functools').cache\n    def exec("),
    "no fallback": ("    def exec_fallback", "    def other_fallback"),
    "the order of operands": ("asked = ", "asked = '' + "),
}

_numbers = itertools.count()


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], ModuleType]:
    """Return a function that imports a text from its own file."""

    def load(text: str) -> ModuleType:
        name = f"edited_{next(_numbers)}"
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def translate_in(module: ModuleType) -> Node:
    cls = getattr(module, "Translate", None) or module.Translation
    return cls()  # type: ignore[no-any-return]


def edited(edit: tuple[str, str]) -> str:
    old, new = edit
    assert old in SOURCE
    return SOURCE.replace(old, new)


@pytest.mark.parametrize("edit", HARMLESS.values(), ids=HARMLESS)
def test_a_harmless_edit_changes_nothing(edit: Any, load: Any) -> None:
    """What cannot change a result leaves the hash unchanged."""
    before, after = Code(translate_in(load(SOURCE))), Code(translate_in(load(edited(edit))))
    assert before.digest == after.digest
    assert before.by_source
    assert after.by_source


@pytest.mark.parametrize("edit", CHANGES.values(), ids=CHANGES)
def test_an_edit_that_may_change_a_result_counts(edit: Any, load: Any) -> None:
    """What may change a result changes the hash."""
    assert code_of(translate_in(load(SOURCE))) != code_of(translate_in(load(edited(edit))))


def test_the_hash_is_the_same_in_every_process_and_version() -> None:
    """It contains no address, no hash seed and no Python version."""

    def sample(item: int, *, scale: float = 1.5) -> str:
        """Show it."""
        big = 10**30 + 0xFF
        names = {one: f"{one!r:>{item}}ü" for one in ("a", b"b", None) if one is not ...}

        match item:
            case 0 | 1:
                return "low"
            case [first, *rest] if rest:
                return str(first)
        try:
            return f"{names}{scale}" + str(lambda other: (other, big))
        except* ValueError as errors:
            raise errors from None

    def with_a_class(item: Any) -> Any:
        @dataclass
        class Within:
            """A class."""

            size: int
            name: str = f"{item['a']}/{item['b']}"  # type: ignore[index]

            def shown(self) -> str:
                return self.name

        return Within

    for function, digest in {
        sample: "a753b3f3a308401712f9df361b48ade4",
        with_a_class: "c93a28f0c9ded0c137deb16325e0623b",
    }.items():
        facts = facts_of(function)
        assert facts.by_source
        assert facts.digest.hex() == digest


def digest_in(text: str, load: Any) -> bytes:
    return facts_of(load(text).function).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("size = 1\n    return dict(size=size)", "length = 1\n    return dict(length=length)"),
        ("real = 1\n    return (1j).real, real", "imag = 1\n    return (1j).imag, imag"),
        ("a = 1\n    return locals()", "b = 1\n    return locals()"),
        ("import json\n    return json", "import math\n    return math"),
        ("x = 1\n    class A: x = x\n    return A", "y = 1\n    class A: y = y\n    return A"),
        ("class A:\n        x: int\n    return A", "class A:\n        x: str\n    return A"),
        ("a, b = 1, 2\n    return a - b", "a, b = 1, 2\n    return b - a"),
        ("return [len for len in ()], len", "return [abs for abs in ()], abs"),
    ],
)
def test_names_that_others_know_count(one: str, other: str, load: Any) -> None:
    """A local variable may be renamed, unless its name is visible elsewhere."""
    assert digest_in(f"def function():\n    {one}\n", load) != digest_in(
        f"def function():\n    {other}\n", load
    )


def test_local_names_do_not_count(load: Any) -> None:
    """Neither those of arguments and loops, nor those of nested functions."""
    one = """
def function(self, item):
    def each(part):
        return part + item
    try:
        return [each(one) for one in item if (last := one)], lambda x: x
    except ValueError as error:
        return error
"""
    other = one
    for name, new in {"item": "record", "each": "every", "part": "piece", "last": "final"}.items():
        other = other.replace(name, new)
    other = other.replace("error", "failure").replace("one", "single").replace("x: x", "y: y")
    assert digest_in(one, load) == digest_in(other, load)


def test_another_process_finds_the_same(tmp_path: Path, load: Any) -> None:
    """A process with another hash seed computes the same hash of the same file."""
    (tmp_path / "there.py").write_text(
        f"{SOURCE}\nfrom kaygraph.journal.code import code_of\nprint(code_of(Translate()).hex())\n"
    )
    printed = subprocess.run(
        [sys.executable, "there.py"],
        cwd=tmp_path,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert printed.stdout.strip() == code_of(translate_in(load(SOURCE))).hex()


def test_a_function_without_source_is_known_by_its_code_object(load: Any) -> None:
    """Without source, comments and docstrings still do not count, and an edit does."""

    def made(text: str) -> Code:
        names: dict[str, Any] = {"__name__": "typed"}
        exec(compile(text, "<typed>", "exec"), names)
        return Code(names["Translate"]())

    code = made(SOURCE)
    assert not code.by_source
    assert made(edited(HARMLESS["a comment"])).digest == code.digest
    assert made(edited(HARMLESS["the docstring of exec"])).digest == code.digest
    for edit in CHANGES.values():
        assert made(edited(edit)).digest != code.digest


def test_a_file_that_was_edited_after_its_import_is_not_taken_for_its_source(
    load: Any, tmp_path: Path
) -> None:
    """The hash is that of the code that runs, wherever the file has gone since."""
    module = load(SOURCE)
    path = Path(module.__file__ or "")
    path.write_text(edited(CHANGES["an expression of exec"]))
    code = Code(translate_in(module))
    assert not code.by_source
    assert code.digest != code_of(translate_in(load(edited(CHANGES["an expression of exec"]))))


def test_a_module_that_was_reloaded_is_known_by_its_new_source(
    load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed file is read again."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "reloaded_nodes.py"
    path.write_text(SOURCE)
    module = importlib.import_module("reloaded_nodes")
    assert Code(translate_in(module)).by_source
    path.write_text(edited(CHANGES["an expression of exec"]) + "\n\n# longer\n")
    module = importlib.reload(module)
    code = Code(translate_in(module))
    assert code.by_source
    assert code.digest == code_of(translate_in(load(edited(CHANGES["an expression of exec"]))))


def test_a_function_that_has_only_moved_is_found(load: Any) -> None:
    """Lines inserted above it, after the import, do not matter."""
    module = load(SOURCE)
    Path(module.__file__).write_text("# moved\n\n" + SOURCE)
    code = Code(translate_in(module))
    assert code.by_source
    assert code.digest == code_of(translate_in(load(SOURCE)))


class Greet(Node):
    """Its exec reads one attribute of the object, and not the other."""

    def __init__(self, greeting: Any, unread: int = 0) -> None:
        super().__init__()
        self.greeting, self.unread = greeting, unread

    def exec(self, name: str) -> str:
        return f"{self.greeting} {name}"


class Model(enum.Enum):
    SMALL = 1
    LARGE = 2


@dataclass
class Setup:
    model: str
    api_key: str = ""


class Text(str):
    __slots__ = ()


DIFFERENT = [
    ("Hello", "Moin"),
    ("a" * 2000, "a" * 1999 + "b"),
    (["a", {"b": 1}], ["a", {"b": 2}]),
    ((1, 2), [1, 2]),
    ({1, 2}, {1, 3}),
    (1, True),
    (0.0, -0.0),
    (10**40, 10**40 + 1),
    (Model.SMALL, Model.LARGE),
    (Setup("small"), Setup("large")),
    (Text("a"), Text("b")),
    (OrderedDict(a=1), OrderedDict(a=2)),
    (datetime(2024, 1, 1), datetime(2024, 1, 2)),
    (Path("a"), Path("b")),
    (re.compile("a"), re.compile("a", re.IGNORECASE)),
    (str.upper, str.lower),
    (functools.partial(int, base=2), functools.partial(int, base=8)),
    (lambda text: text + "a", lambda text: text + "b"),
    ([0] * 20_000, [0] * 20_001),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT, ids=range(len(DIFFERENT)))
def test_plain_values_that_exec_reads_count(one: Any, other: Any) -> None:
    """Two objects of a class differ when exec reads what differs, and only then."""
    assert code_of(Greet(one)) == code_of(Greet(copy.copy(one), unread=1))
    assert code_of(Greet(one)) != code_of(Greet(other))


class Proxy:
    """A proxy without a target here."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("outside of a request")


def test_of_other_values_the_class_counts() -> None:
    """A hash contains no address, no secret and no order of a dict, and does not take forever."""
    assert code_of(Greet(object())) == code_of(Greet(object()))
    assert code_of(Greet(object())) != code_of(Greet(threading.Lock()))
    assert code_of(Greet({"a": 1, "b": 2})) == code_of(Greet({"b": 2, "a": 1}))
    assert code_of(Greet(Setup("small", "old"))) == code_of(Greet(Setup("small", "new")))
    assert code_of(Greet(Proxy())) == code_of(Greet(Proxy()))
    around: list[Any] = []
    around += [around] * 20
    assert code_of(Greet(around)) == code_of(Greet(around))


def test_state_is_no_code() -> None:
    """What methods set or change in place does not count; a list that is only read does."""

    class Count(Node):
        def __init__(self, words: list[str]) -> None:
            super().__init__()
            self.calls, self.met, self.words = 0, [], words
            self.setup = Setup("small")

        def exec(self, word: str) -> int:
            self.calls += 1
            self.met.append(word)
            self.setup.model += word
            return self.words.index(word) + len(self.met)

    count = Count(["a"])
    before = code_of(count)
    count.exec("a")
    assert code_of(count) == before
    count.words = ["a", "b"]
    assert code_of(count) != before


def test_what_is_named_like_a_secret_does_not_count() -> None:
    """A rotated key is not a change of code."""

    class Ask(Node):
        def __init__(self, api_key: str, headers: dict[str, str]) -> None:
            super().__init__()
            self.api_key, self.headers = api_key, headers

        def exec(self, item: str) -> str:
            return f"{item} {self.api_key} {self.headers}"

    assert code_of(Ask("old", {"Authorization": "old"})) == code_of(
        Ask("new", {"Authorization": "new"})
    )
    assert code_of(Ask("key", {"Accept": "a"})) != code_of(Ask("key", {"Accept": "b"}))


def test_names_of_functions_around_count_where_they_cannot_be_changed() -> None:
    """A prompt and a factor count; a list that is appended to, or a number that exec increments,
    does not."""

    def made(prompt: str, seen: list[int], limit: int, factor: float, calls: int = 0) -> Node:
        LIMIT = limit  # noqa: N806 - as a constant is written

        class Ask(Node):
            def exec(self, item: int) -> Any:
                nonlocal calls
                calls += 1
                seen.append(item)
                return prompt, LIMIT, factor

        return Ask()

    base = code_of(made("a", [], 1, 1.5))
    assert code_of(made("a", [1], 1, 1.5, calls=2)) == base
    assert code_of(made("b", [], 1, 1.5)) != base
    assert code_of(made("a", [], 2, 1.5)) != base
    assert code_of(made("a", [], 1, 2.5)) != base


def test_a_function_node_is_its_function() -> None:
    """Another function is different code, even under the same name."""

    def made(number: int) -> FunctionNode[..., Any]:
        if number == 1:
            return node(lambda item: item + 1, name="Add")
        return node(lambda item: item + 2, name="Add")

    assert code_of(made(1)) == code_of(made(1))
    assert code_of(made(1)) != code_of(made(2))


def test_settings_of_a_ready_made_node_count() -> None:
    """What is asked for counts; how often, how long and with which limits does not."""
    code = code_of(HTTPNode("http://127.0.0.1/{item}"))
    how: dict[str, Any] = {"max_retries": 3, "max_bytes": 10_000, "read_timeout": 1, "name": "B"}
    assert code_of(HTTPNode("http://127.0.0.1/{item}", **how)) == code
    assert code_of(HTTPNode("http://127.0.0.1/{item}?all")) != code
    assert code_of(HTTPNode("http://127.0.0.1/{item}", params={"q": "a"})) != code
    assert code_of(HTTPNode("http://127.0.0.1/{item}", auth=Bearer("secret"))) == code

    def searching(words: str) -> HTTPNode:
        class Search(HTTPNode):
            url = "http://127.0.0.1"
            params = {"q": words}  # type: ignore[assignment]  # noqa: RUF012

        return Search()

    assert code_of(searching("a")) == code_of(searching("a"))
    assert code_of(searching("a")) != code_of(searching("b"))


def test_what_a_model_is_asked_for_counts() -> None:
    """Another schema or another system prompt is a different question."""

    def made(**settings: Any) -> ChatNode:
        return ChatNode("http://127.0.0.1/v1", model="small", **settings)

    assert code_of(made(system="Be brief.")) == code_of(made(system="Be brief."))
    assert code_of(made(system="Be brief.")) != code_of(made(system="Be kind."))
    assert code_of(made(schema={"type": "object"})) != code_of(made(schema={"type": "array"}))


def test_super_is_followed() -> None:
    """A base that is called through super() counts, each in its turn."""

    def made(extra: str) -> Node:
        class Base(Node):
            def exec(self, item: str) -> str:
                return item + extra

        class Fetch(Base):
            def exec(self, item: str) -> str:
                return super().exec(item)

        return Fetch()

    assert code_of(made("a")) != code_of(made("b"))


def test_map_reduce_is_known_by_its_own_hooks() -> None:
    """map, combine, partition and reduce are its code."""

    def made(step: str) -> MapReduceNode:
        class Count(MapReduceNode):
            def map(self, item: str) -> Any:
                return [(item, step)]

            def reduce(self, key: str, values: list[Any]) -> Any:
                return len(values)

        return Count()

    assert code_of(made("a")) == code_of(made("a"))
    assert code_of(made("a")) != code_of(made("b"))


def test_it_says_whether_params_are_read() -> None:
    """A result that depends on the params of a round must be kept under them."""

    class Plain(BatchNode):
        def exec(self, item: int) -> int:
            return item

    class Reads(BatchNode):
        def exec(self, item: int) -> int:
            return item + int(self.params["add"])

    assert not Code(Plain()).reads_params
    assert Code(Reads()).reads_params


def test_a_hook_that_was_put_on_an_object_is_its_code() -> None:
    """node.exec = … counts, and so does a patched class."""

    class Fetch(Node):
        def exec(self, item: int) -> int:
            return item

    fetch = Fetch()
    before = code_of(fetch)
    fetch.exec = lambda item: item + 1  # type: ignore[assignment, method-assign]
    assert code_of(fetch) != before

    def patched(self: Any, item: int) -> int:
        return item - 1

    Fetch.exec = patched  # type: ignore[method-assign]
    assert code_of(Fetch()) != before
