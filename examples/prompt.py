"""From free text to workflows: "validate and enrich this" → validation >> enrichment.

Plain rules, the same answer every time: words are reduced to stems and looked up. No network, no
model. What the rules could not use is reported, never dropped:

1. The data in the text (JSON, e-mail addresses, files, words in quotes) is taken out first.
2. The text is split into clauses at "and", "then", commas and the like. A clause whose words name a
   workflow asks for it; a clause that names none and goes beyond small talk is not
   understood, and nothing runs.
3. "don't", "without", "skip" and the like rule out what follows them; "after" reverses the order.
4. A word of a clause that names nothing may be a misspelling. It is corrected, and reported, if the
   rest of the text names data or a workflow and every other word is known.
5. "Everything", "all examples" and "the rest" ask for all, except what is ruled out; in "validate
   everything" they refer to the data.
6. Data by itself is validated and enriched. A question about its quality is answered by
   validation, one about a person by enrichment.

When in doubt, it asks (a NotUnderstoodError says what to type), and nothing runs.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from examples.inputs import InputError
from examples.mentions import Found, find_data
from examples.vocabulary import (
    ABOUT,
    ALL,
    BARE,
    BEFORE_A_NOUN,
    BREAKS,
    DATA,
    ENDS_NEGATION,
    FILES,
    GENERIC,
    HELP,
    HOW_TO,
    LOAD,
    NEGATIONS,
    OTHERS,
    POINTERS,
    SAMPLE,
    SMALL_STEMS,
    SMALL_TALK,
    STATE,
    STRONG_STEMS,
    distance,
    nearest,
    stem,
    weak_stems,
)
from examples.workflow import FILE_READERS, NAMES

# Conjunctions that a negation may cross: "without validation and enrichment".
NOUN = re.compile(r"(tion|ment|ing|ity)s?$")

EVERYTHING = re.compile(
    r"\b(?:everything(?: else)?|anything(?= (?:but|except))|the (?:rest|others)|"
    r"(?:the )?(?:whole|full|entire) demo|"
    r"(?:all|every|each)(?: of)?(?: the| these| those| your)?(?: five)? "
    r"(?:example|workflow|demo)s?|"
    r"all(?: of (?:them|these|it)| five)?(?= but| except| excluding| without|\W*$))(?!\w)"
)
EXCEPT = re.compile(r"\b(everything) (?:but|apart from|other than|besides)(?!\w)")

WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*|>>|->|→|[,;.!?:+&]")
COUNT = re.compile(
    r"(?<!\w)(?P<number>-?\d[\d,]*)\s+(?P<adjective>[a-z]+\s+)?(?P<thing>workers?|threads?|processes|"
    r"records?|rows?|items?|files?|users?|people|customers?|profiles?|entries)\b",
    re.IGNORECASE,
)
CONTRACTED = re.compile(r"(?<=\w)'(?:ve|d|ll|re|m)$")
DATABASES = (".db", ".sqlite", ".sqlite3")
MOST_SHOWN, LONGEST_SHOWN = 6, 40  # of the words that could not be used


Choice = tuple[list[str], list[str]]  # workflows in their order, and remarks about them


@dataclass(frozen=True, slots=True)
class Request:
    """What a free text asks for.

    Attributes:
        workflows: Names, in the order in which to run them.
        found: The data in the text.
        workers: How many workers it names, or None.
        limit: How many records or files it names, or None.
        notes: Remarks about how it was read.
        names_sample: Whether it names the bundled data, such as the standard library.
        names_files: Whether it speaks of files.
    """

    workflows: list[str]
    found: Found
    workers: int | None
    limit: int | None
    notes: list[str]
    names_sample: bool
    names_files: bool


class NotUnderstoodError(InputError):
    """The text names no workflow, or something that no workflow does; ``reason`` is a sentence."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"{reason} I understand: validate, enrich, batch (hash and measure files), count "
            "(words, by map-reduce), pipeline (stream records); for example "
            '"validate and enrich this user data"'
        )


class HelpAsked(Exception):  # noqa: N818 - not an error
    """The text asks what it can ask for."""


def by_words(text: str, names_data: bool = False) -> Choice:
    """Return the workflows that the words of a text name, and remarks about them.

    ``names_data``: there was data in the text, between these words.

    Raises:
        NotUnderstoodError: It contains unknown words, or rules out everything that it names.
    """
    words = EXCEPT.sub(r"\1 except", EVERYTHING.sub("everything", _plain(text)))
    clauses = list(_clauses(WORD.findall(words)))
    weak = weak_stems()
    rare = {key: name for key, name in weak.items() if key not in SMALL_STEMS}
    try:
        return _read(clauses, rare, names_data)
    except NotUnderstoodError as error:
        try:  # "the files please" asks for work on files, if nothing else is asked for
            return _read(clauses, weak, names_data)
        except NotUnderstoodError:
            raise error from None


def _plain(text: str) -> str:
    words = re.sub(r"\bmap[- ]?(and )?[- ]?reduc", "mapreduc", text.replace("\u2019", "'").lower())
    return re.sub(r"'s?(?!\w)", "", words)  # the user's, the users'


def understand(text: str, choose: Callable[[str], Choice] = by_words) -> Request:
    """Return what a free text asks for; ``choose`` gets its words, without the data in it.

    Raises:
        HelpAsked: It asks what it can ask for.
        NotUnderstoodError: It contains unknown words, or rules out everything that it names.
        InputError: The data in it is malformed or missing.
    """
    found = find_data(text)
    numbers: dict[str, int] = {}

    def take_count(match: re.Match[str]) -> str:
        thing = match["thing"].lower()
        kind = "workers" if thing.startswith(("worker", "thread", "process")) else "limit"
        numbers[kind] = int(match["number"].replace(",", ""))
        return f" {match['adjective'] or ''} {thing} "

    rest = COUNT.sub(take_count, found.rest)
    words = [word for word in WORD.findall(_plain(rest)) if word not in BREAKS]
    names_data = bool(found.records or found.files or found.text)
    if not names_data and _asks_for_help(rest, words):
        raise HelpAsked
    if choose is by_words:
        workflows, notes = _asked_of(found, words) or by_words(rest, names_data)
    else:
        workflows, notes = choose(rest)
    return Request(
        workflows,
        found,
        numbers.get("workers"),
        numbers.get("limit"),
        [*found.notes, *notes],
        _names_sample(words, workflows),
        not FILES.isdisjoint(words),
    )


def _names_sample(words: list[str], workflows: Iterable[str]) -> bool:
    """Whether words name the bundled data: directly, or by asking for workflows that use it."""
    samples = SAMPLE.intersection(words)
    about_others = (ALL | FILES | OTHERS).intersection(words)
    if samples - {"batch", "mapreduce"}:
        return True
    if samples and not about_others:  # "batch my files" names none
        return True
    named = {(STRONG_STEMS | weak_stems()).get(stem(word)) for word in words}
    return not ALL.isdisjoint(words) and not named.issuperset(workflows)


def _asks_for_help(text: str, words: list[str]) -> bool:
    if HOW_TO.match(text) or (not words and "?" in text):
        return True
    if len(words) == 1 and distance(words[0], "help") <= 1:
        return True
    return not HELP.isdisjoint(words) and all(w in HELP or _is_small_talk(w) for w in words)


def _asked_of(found: Found, words: list[str]) -> Choice | None:
    """Return the workflows for data if none is named; None if that is not certain."""
    if not (found.records or found.files) or any(stem(word) in STRONG_STEMS for word in words):
        return None
    into_a_database = found.output is not None and found.output.endswith(DATABASES)
    if into_a_database and all(word in LOAD or _is_small_talk(word) for word in words):
        return ["pipeline"], []
    if any(word not in BARE | STATE | ABOUT and not _is_small_talk(word) for word in words):
        return None
    if not found.records and not all(map(_holds_records, found.files)):
        return None
    validation, enrichment = NAMES[:2]
    if BARE.issuperset(words):
        return [validation, enrichment], []
    if words[0] in NEGATIONS:
        return None
    if not STATE.isdisjoint(words):
        return [validation], []
    if not ABOUT.isdisjoint(words) or {"look", "up"} <= set(words):
        return [enrichment], []
    return None


def _holds_records(name: str) -> bool:
    return name.lower().endswith((".json", ".jsonl", ".ndjson", ".csv", ".tsv"))


def _read(clauses: "list[_Clause]", weak_stems: dict[str, str], names_data: bool) -> Choice:
    """Return the workflows that the clauses ask for, and remarks about them."""
    reader = _Reader(weak_stems, names_data, [word for clause in clauses for word in clause.words])
    for clause in clauses:
        reader.read(clause)
    return reader.in_order(), reader.notes


@dataclass(slots=True)
class _Clause:
    words: list[str]
    opened_by: str  # the word or sign before it


def _clauses(tokens: list[str]) -> Iterator[_Clause]:
    words: list[str] = []
    opened_by = ""
    for token in [*tokens, "."]:
        if token in BREAKS:
            if words:
                yield _Clause(words, opened_by)
                words, opened_by = [], token
            elif token not in ",.":
                opened_by = token
        else:
            words.append(token)


class _Reader:
    """Reads clause by clause; a negation and an order may reach from one to the next."""

    def __init__(self, weak_stems: dict[str, str], names_data: bool, words: list[str]) -> None:
        self.notes: list[str] = []
        self._weak_stems = weak_stems
        self._names_data = names_data  # in the text, between these words
        self._words = words
        self._asked: list[str] = []
        self._ruled_out: list[str] = []
        self._all = False  # whether "everything" was asked for
        self._negated: str | None = None  # the last word that a negation ruled out
        self._turned = False  # "before" or "after" turns the order of two

    def read(self, clause: _Clause) -> None:
        placed = self._placed(clause.words)
        if not placed:
            self._refuse_unless_small_talk(clause)
        negated = bool(placed) and self._reaches(clause, next(iter(placed)))
        named, everything = False, None  # whether that is ruled out, if it occurs
        for at, word in enumerate(clause.words):
            if _is_negation(clause.words, at):
                negated = True
            elif word in ("just", "only"):
                negated = False
            elif word == ("after" if self._asked else "before"):  # b after a; before b, a
                self._turned = True
            if word in placed:
                self._ask(placed[word], negated)
                named = named or not negated
            elif word == "everything":
                everything = negated
        if everything is not None and not named:  # otherwise it refers to the data
            self._all = not everything
            for name in NAMES:
                self._ask(name, everything)
        if not placed:
            return
        self._negated = next(reversed(placed)) if negated else None
        fitting = {key for key, name in self._weak_stems.items() if name in placed.values()}
        unused = [
            word
            for word in clause.words
            if not (_is_small_talk(word) or word in placed or stem(word) in fitting)
            and word not in SAMPLE
        ]
        strange = [word for word in unused if stem(word) not in STRONG_STEMS]
        takes_time = not FILE_READERS.isdisjoint(placed.values())
        certain = _speaks_of_data(clause.words, strange) and not takes_time
        if strange and not self._names_data and not certain:
            raise NotUnderstoodError(f"I do not understand {_listed(strange, repr)}.")
        if unused:
            self.notes.append(f"not used: {_listed(unused)}")

    def _reaches(self, clause: _Clause, word: str) -> bool:
        """Return whether a negation in the previous clause reaches this one."""
        if self._negated is None:
            return False
        if clause.opened_by in ENDS_NEGATION:
            # "batch" may be a task, but not in "everything but pipeline, batch".
            listed = _is_noun if self._all else NOUN.search
            return clause.opened_by == "," and bool(listed(self._negated) and listed(word))
        return clause.opened_by in ("or", "nor") or _is_noun(self._negated) == _is_noun(word)

    def _ask(self, workflow: str, negated: bool) -> None:
        if negated:
            self._ruled_out.append(workflow)
        elif workflow not in self._asked:
            turned = self._turned and bool(self._asked)
            self._asked.insert(len(self._asked) - turned, workflow)
            self._turned = self._turned and not turned

    def _placed(self, words: list[str]) -> dict[str, str]:
        """Return the words of a clause that name a workflow, with the workflow."""
        placed: dict[str, str] = {}
        for at, word in enumerate(words):
            workflow = STRONG_STEMS.get(stem(word))
            before = words[at - 1] if at else ""
            kind_of_work = (
                placed
                and word in GENERIC
                and (before in BEFORE_A_NOUN or _is_noun(before))
                and words[at - 2] not in ("before", "after")
            )
            if workflow is not None and not kind_of_work:
                placed[word] = workflow
        if placed:
            return placed
        others = [word for word in words if not _is_small_talk(word)]
        placed = {w: self._weak_stems[stem(w)] for w in words if stem(w) in self._weak_stems}
        # The task comes first: in "translate the lines" it is not the lines.
        if placed and (not others or others[0] in placed):
            return placed
        if len(others) == 1 and (meant := nearest(others[0])) and self._is_about_data(others[0]):
            self.notes.append(f"read {others[0]!r} as {meant!r}")
            return {others[0]: STRONG_STEMS[stem(meant)]}
        return {}

    def _is_about_data(self, misspelt: str) -> bool:
        """Whether the rest of the text names data or a workflow."""
        others = [word for word in self._words if word != misspelt]
        return (
            self._names_data
            or not DATA.isdisjoint(others)
            or any(stem(word) in STRONG_STEMS for word in others)
        )

    def _refuse_unless_small_talk(self, clause: _Clause) -> None:
        unknown = [word for word in clause.words if not _is_small_talk(word)]
        if unknown:
            asked = {"pattern", "patterns"}.intersection(unknown)
            hint = " The patterns are: python main.py --example patterns." if asked else ""
            meant = [near for word in unknown if (near := nearest(word))]
            if meant:
                hint = f" Did you mean {meant[0]}?"
            raise NotUnderstoodError(f"I do not understand {_listed(unknown, repr)}.{hint}")

    def in_order(self) -> list[str]:
        """Return the workflows asked for."""
        asked = [name for name in self._asked if name not in self._ruled_out]
        if asked:
            return asked
        if self._ruled_out:
            raise NotUnderstoodError(f"that rules out {' and '.join(self._ruled_out)}: what then?")
        what = " with that data" if self._names_data else ""
        raise NotUnderstoodError(f"that names nothing to do{what}.")


def _speaks_of_data(words: list[str], strange: list[str]) -> bool:
    """Whether a clause refers to data: "this awful data", but not "this song"."""
    following = [*words[1:], ""]
    return any(
        word in DATA and not (word in POINTERS and after in strange)
        for word, after in zip(words, following, strict=True)
    )


def _is_negation(words: list[str], at: int) -> bool:
    if words[at] == "not" and words[at + 1 : at + 2] == ["only"]:
        return False
    return words[at] in NEGATIONS or words[at].endswith("n't")


def _is_noun(word: str) -> bool:
    return word in NAMES or NOUN.search(word) is not None


def _listed(words: Iterable[str], form: Callable[[str], str] = str) -> str:
    """Return words once each, with long ones shortened and long lists cut off."""
    once = [*dict.fromkeys(words)]
    short = [w if len(w) <= LONGEST_SHOWN else f"{w[:LONGEST_SHOWN]}…" for w in once]
    rest = len(once) - MOST_SHOWN
    return ", ".join(map(form, short[:MOST_SHOWN])) + (f" and {rest:,} more" if rest > 0 else "")


def _is_small_talk(word: str) -> bool:
    word = CONTRACTED.sub("", word)  # "we've"
    return word in SMALL_TALK | NEGATIONS | {"after", "before"} or word.endswith("n't")
