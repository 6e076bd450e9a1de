"""From free text to workflows: "validate and enrich this" → validation >> enrichment.

Plain rules, the same answer every time: words are reduced to stems and looked up. No network, no
model. Whatever the rules could not use is told, never dropped:

1. The data in the text (JSON, e-mail addresses, files, words in quotes) is taken out first.
2. The text falls into clauses at "and", "then", commas and the like. A clause whose words name a
   workflow asks for it; a clause that names none and says anything beyond small talk cannot be
   placed, and nothing is run.
3. "don't", "without", "skip" and the like rule out what follows them; "after" turns the order.
4. A word of a clause that names nothing may be a misspelling. The nearest is taken, and told.
5. "Everything", "all examples" and "the rest" ask for all, less what is ruled out; in "validate
   everything" they are about the data.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from examples.inputs import Found, InputError, find_data
from examples.workflow import NAMES, load


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What asks for a workflow wherever it stands. The words of the workflow itself, which may be as
# common as "file", only count in a clause that has none of these.
STRONG = {
    "validation": "validate validation verify verification check audit inspect vet",
    "enrichment": "enrich enrichment augment complement supplement",
    "batch": "batch hash parse chunk measure checksum analyse analyze",
    "mapreduce": "mapreduce count tally frequency wordcount reduce histogram",
    "pipeline": "pipeline stream streaming etl ingest ingestion pipe",
}
WEAK = {"batch": _words("functions classes lines files"), "mapreduce": _words("words")}
# Words about the data and the manner, which ask for nothing.
SMALL_TALK = _words(
    """a an the this that these those it its them they their my our your me i you we us he she
    please kindly can could would should will want need like let lets go run do does make give get
    take show tell start execute perform try use using work works job task workflow workflows
    example now here there quickly carefully fully all any each every both some of in on for from
    to with by at as into over through about against per via is are be been was were has have
    had which who whose what where when how many much very really just only again once also too
    first second last next finally afterwards later new old good bad valid invalid own real whole
    entire data datum dataset record records row rows entry entries item items object objects json
    jsonl csv list lists table file files folder directory input inputs output result results
    user users customer customers client clients person people member members profile profiles
    account accounts contact contacts email emails mail address addresses e-mail e-mails name names
    phone phones number numbers city cities country countries company companies order orders
    information info details detail field fields value values text texts word words string strings
    sample samples stuff thing things one ones parallel concurrently together up out standard
    python code source sources following given attached below above way line lines
    worker workers thread threads process processes hi hello hey thanks thank everything"""
)
NEGATIONS = _words("dont not never no without skip except excluding omit ignore")
# Where a negation may reach over "and": "without validation and enrichment".
NOUN = re.compile(r"(tion|ment|ing|ity)s?$")
SUFFIXES = (
    "ication", "ying", "ied", "ies", "ments", "ment", "ings", "ing", "ions", "ion", "ers", "ors",
    "er", "or", "ed", "es", "e", "s", "y",
)  # fmt: skip
# A clause ends here. "but" and "then" also end what a negation reaches.
BREAKS = _words("and or nor & then but , ; . ! ? : + >> -> → plus followed instead")
ENDS_NEGATION = BREAKS - {"and", "or", "nor", "&"}

EVERYTHING = re.compile(
    r"\b(?:everything(?: else)?|anything(?= (?:but|except))|the (?:rest|others)|"
    r"(?:the )?(?:whole|full|entire) demo|"
    r"(?:all|every|each)(?: of)?(?: the| these| those| your)?(?: five)? "
    r"(?:example|workflow|demo)s?|"
    r"all(?: of (?:them|these|it))?(?= but| except| excluding| without|\W*$))(?!\w)"
)
EXCEPT = re.compile(r"\b(everything) (?:but|apart from|other than|besides)(?!\w)")

WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*|>>|->|→|[,;.!?:+&]")
COUNT = re.compile(
    r"\b(?P<number>\d[\d,]*)\s+(?P<adjective>[a-z]+\s+)?(?P<thing>workers?|threads?|processes|"
    r"records?|rows?|items?|files?|users?|people|customers?|profiles?|entries)\b",
    re.IGNORECASE,
)
# Kinds of work as much as names of a workflow: "this batch", "the validation pipeline".
GENERIC = _words("batch batches pipeline pipelines stream streams pipe")
BEFORE_A_NOUN = _words("a an the this that these those my our your each in of as from")
MOST_SHOWN, LONGEST_SHOWN = 6, 40  # of the words that could not be used


Choice = tuple[list[str], list[str]]  # workflows in their order, and what to tell about them


@dataclass(frozen=True, slots=True)
class Request:
    """What a free text asks for.

    Attributes:
        workflows: Names, in the order in which they are to run.
        found: The data in the text.
        workers: How many workers it names, or None.
        limit: How many records or files it names, or None.
        notes: What a person should be told about how it was read.
    """

    workflows: list[str]
    found: Found
    workers: int | None
    limit: int | None
    notes: list[str]


class NotUnderstoodError(InputError):
    """The text names no workflow, or something that no workflow does; ``reason`` is a sentence."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"{reason} I understand: validate, enrich, batch (hash and measure files), count "
            "(words, by map-reduce), pipeline (stream records); for example "
            '"validate and enrich this user data"'
        )


def by_words(text: str) -> Choice:
    """Return the workflows that the words of a text name, and what to tell about them.

    Raises:
        NotUnderstoodError: Words in it cannot be placed, or it rules out all that it names.
    """
    words = re.sub(r"\bmap[- ]?(and )?[- ]?reduc", "mapreduc", text.replace("\u2019", "'").lower())
    words = re.sub(r"'s?(?!\w)", "", words)  # the user's, the users'
    words = EXCEPT.sub(r"\1 except", EVERYTHING.sub("everything", words))
    clauses = list(_clauses(WORD.findall(words)))
    weak = _weak_stems()
    rare = {key: name for key, name in weak.items() if key not in SMALL_STEMS}
    try:
        return _read(clauses, rare)
    except NotUnderstoodError as error:
        try:  # "the files please" asks for what works on files, where nothing else is asked for
            return _read(clauses, weak)
        except NotUnderstoodError:
            raise error from None


def understand(text: str, choose: Callable[[str], Choice] = by_words) -> Request:
    """Return what a free text asks for; ``choose`` gets its words, without the data in it.

    Raises:
        NotUnderstoodError: Words in it cannot be placed, or it rules out all that it names.
        InputError: The data in it is malformed or missing.
    """
    found = find_data(text)
    numbers: dict[str, int] = {}

    def take_count(match: re.Match[str]) -> str:
        thing = match["thing"].lower()
        kind = "workers" if thing.startswith(("worker", "thread", "process")) else "limit"
        numbers[kind] = int(match["number"].replace(",", ""))
        return f" {match['adjective'] or ''} {thing} "

    workflows, notes = choose(COUNT.sub(take_count, found.rest))
    return Request(workflows, found, numbers.get("workers"), numbers.get("limit"), notes)


def _read(clauses: "list[_Clause]", weak_stems: dict[str, str]) -> Choice:
    """Return the workflows that the clauses ask for, and what to tell about them."""
    reader = _Reader(weak_stems)
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

    def __init__(self, weak_stems: dict[str, str]) -> None:
        self.notes: list[str] = []
        self._weak_stems = weak_stems
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
        named, everything = False, None  # whether that is ruled out, where it is said
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
        if everything is not None and not named:  # else it is about the data
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
        ]
        if unused:
            self.notes.append(f"not used: {_listed(unused)}")

    def _reaches(self, clause: _Clause, word: str) -> bool:
        """Return whether a negation in the clause before reaches this one."""
        if self._negated is None:
            return False
        if clause.opened_by in ENDS_NEGATION:
            # "batch" may be what is to be done, but not in "everything but pipeline, batch".
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
        told = [word for word in words if not _is_small_talk(word)]
        placed = {w: self._weak_stems[stem(w)] for w in words if stem(w) in self._weak_stems}
        # The task stands first: in "translate the lines" it is not the lines.
        if placed and (not told or told[0] in placed):
            return placed
        for word in told:
            meant = _nearest(word)
            if meant is not None:
                self.notes.append(f"read {word!r} as {meant!r}")
                return {word: STRONG_STEMS[stem(meant)]}
        return {}

    def _refuse_unless_small_talk(self, clause: _Clause) -> None:
        unknown = [word for word in clause.words if not _is_small_talk(word)]
        if unknown:
            asked = {"pattern", "patterns"}.intersection(unknown)
            hint = " The patterns are: python main.py --example patterns." if asked else ""
            raise NotUnderstoodError(f"I cannot place {_listed(unknown, repr)}.{hint}")

    def in_order(self) -> list[str]:
        """Return the workflows asked for."""
        asked = [name for name in self._asked if name not in self._ruled_out]
        if asked:
            return asked
        if self._ruled_out:
            raise NotUnderstoodError(f"that rules out {' and '.join(self._ruled_out)}: what then?")
        raise NotUnderstoodError("that names nothing to do.")


def _is_negation(words: list[str], at: int) -> bool:
    if words[at] == "not" and words[at + 1 : at + 2] == ["only"]:
        return False
    return words[at] in NEGATIONS or words[at].endswith("n't")


def _is_noun(word: str) -> bool:
    return word in NAMES or NOUN.search(word) is not None


def _listed(words: Iterable[str], form: Callable[[str], str] = str) -> str:
    """Return words once each, the long ones shortened and the many cut off."""
    once = [*dict.fromkeys(words)]
    short = [w if len(w) <= LONGEST_SHOWN else f"{w[:LONGEST_SHOWN]}…" for w in once]
    rest = len(once) - MOST_SHOWN
    return ", ".join(map(form, short[:MOST_SHOWN])) + (f" and {rest:,} more" if rest > 0 else "")


def _is_small_talk(word: str) -> bool:
    return word in SMALL_TALK | NEGATIONS | {"after", "before"} or word.endswith("n't")


def stem(word: str) -> str:
    """Return what a word shares with its other forms: validates, validation → validat."""
    word = word.replace("-", "")
    for suffix in SUFFIXES:
        rest = word.removesuffix(suffix)
        if rest != word and len(rest) >= 3 and not (suffix == "s" and rest.endswith("s")):
            doubled = suffix in ("ing", "ed", "er") and rest[-1] == rest[-2] and rest[-1] in "bgnpt"
            return rest[:-1] if doubled else rest
    return word


STRONG_STEMS = {stem(word): name for name, words in STRONG.items() for word in words.split()}
SMALL_STEMS = frozenset(stem(word) for word in SMALL_TALK)


def _weak_stems() -> dict[str, str]:
    """Return the stems of the workflows' own words; a word of two workflows asks for neither."""
    owners: dict[str, set[str]] = {}
    for name in NAMES:
        for word in load(name).words | WEAK.get(name, frozenset()):
            owners.setdefault(stem(word), set()).add(name)
    return {key: next(iter(names)) for key, names in owners.items() if len(names) == 1}


def _nearest(word: str) -> str | None:
    """Return the word that a misspelt one stands for; None when none is near enough."""
    if len(word) < 5:
        return None
    known = [known for words in STRONG.values() for known in words.split()]
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.8)
    return found[0] if found and found[0][0] == word[0] else None
