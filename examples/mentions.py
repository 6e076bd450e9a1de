"""What a free text mentions: data, files to read, a file to write. The words around them remain.

Nothing is dropped silently: unreadable data is an InputError that says what to type.
"""

import csv
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.inputs import DECODER, EMAIL, QUOTED, InputError, is_file, many, parse_records
from examples.vocabulary import (
    BREAKS,
    DETERMINERS,
    FILE_NOUNS,
    IN,
    INTO,
    KNOWN,
    NO_NAMES,
    SAVE,
    SMALL_TALK,
    STRONG_STEMS,
    stem,
)

CALLED = frozenset({"called", "named"})  # "in a file called out.jsonl"
ARROWS = (">", ">>", "->", "→", "=>")
FILE_NAME = re.compile(r"[^\s@]*\.[A-Za-z][A-Za-z0-9]{0,7}|[^\s@]*/[^\s@]+")
# An address to send something to is not data.
SENDS = re.compile(
    r"\b(?:e-?mail|mail|send|forward|notify|contact|call|message|schicke?|sende)\b"
    r"(?!:)(?:[ \t]+to)?[ \t]+(?:\S+@|[^.;:{\n]*\b(?:to|an)[ \t]+\S+@)"
    r"|\b(?:e-?mail|mail|forward|notify|message|text|sms|schicke?|sende)[ \t]+"
    r"(?:me|us|him|her|them|everyone|mir|uns|ihm|ihr|ihnen)\b",
    re.IGNORECASE,
)
# Signs without a space around them: "people.csv|enrich", "output=out.jsonl".
JOINED = re.compile(r"(\.\w{1,8}|\boutput)([|;,=])(?=\S)")
# "hash .": a directory, and not the end of a sentence.
HERE = re.compile(r"(\w+)[ \t]+(\.{1,2})(?=\s|$)")
UNSAVED = re.compile(
    r"\b(?:don['\u2019]?t|do not|never|without|no need to) (?:sav|writ|stor|export)\w*[^,.;]*", re.I
)
HEADER_CELL = re.compile(r"[^\W\d][\w.-]*(?: [^\W\d][\w.-]*)?")
LONGEST_SENTENCE = 9  # words between "save" and the name


@dataclass(frozen=True, slots=True)
class Found:
    """The data in a free text, and the rest of the text.

    Attributes:
        records: From JSON, rows and e-mail addresses, in this order; None if there are none.
        files: Files, directories and globs that were named and exist.
        text: Quoted text that is none of these.
        rest: The words around the data.
        what: Descriptions of what was found.
        output: The file to write the results to, or None.
        notes: Remarks about how it was read.
    """

    records: list[Any] | None
    files: list[str]
    text: str | None
    rest: str
    what: list[str]
    output: str | None = None
    notes: tuple[str, ...] = ()


def find_data(text: str) -> Found:
    """Find data, e-mail addresses, files and quoted words in a free text.

    Raises:
        InputError: JSON in it is malformed, or an apparent file does not exist.
    """
    what: list[str] = []
    notes: list[str] = []
    documents, text = _take_json(text)
    records = [r for d in documents for r in (d if isinstance(d, list) else [d])]
    records = [{"email": r} if isinstance(r, str) and EMAIL.fullmatch(r) else r for r in records]
    rows, text = _take_rows(text)
    records += rows
    if documents and not records:
        raise InputError("the JSON in the text contains no records")
    if documents or rows:
        what.append(f"{many(len(records), 'record')} in the text")
    text = JOINED.sub(r"\1 \2 ", text)
    if SENDS.search(text):
        raise InputError("I do not send anything to addresses. To save results: save to x.jsonl")
    text = HERE.sub(_with_slash, text)
    output, text = _take_output(UNSAVED.sub(" ", text))

    quotes: list[str] = []
    files: list[str] = []

    def take_quote(match: re.Match[str]) -> str:
        words = next(group for group in match.groups() if group)
        if EMAIL.fullmatch(words):
            return f" {words} "
        if is_file(words) or Path(words).expanduser().exists():
            files.append(words)
        else:
            quotes.append(words)
        return " "

    text = QUOTED.sub(take_quote, text)
    addresses = EMAIL.findall(text)
    text = EMAIL.sub(" ", text)
    if addresses:
        records += [{"email": address} for address in addresses]
        what.append(f"{many(len(addresses), 'e-mail address', 'e-mail addresses')} in the text")
    rest = _take_files(text, files, notes)
    what += files
    words = " ".join(quotes) or None
    return Found(records or None, files, words, rest, what, output, tuple(notes))


# --- data ---------------------------------------------------------------------------------------


def _take_json(text: str) -> tuple[list[Any], str]:
    """Return the JSON objects and arrays in a text, and the text without them."""
    documents: list[Any] = []
    start = 0
    while match := re.compile(r"[\[{]").search(text, start):
        at = match.start()
        try:
            document, end = DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            if re.match(r"\{|\[\s*[\[{\"]", text[at:]):
                where = f"at character {error.pos + 1}" if hasattr(error, "pos") else ""
                reason = getattr(error, "msg", None) or str(error) or "nested too deeply"
                raise InputError(f"the JSON in the text is malformed {where}: {reason}") from error
            start = at + 1  # a glob such as *.[ch]
        else:
            documents.append(document)
            comma = "" if text[end:].lstrip()[:1] != "," else text[end:].lstrip()[1:]
            text = f"{text[:at]} {comma or text[end:]}"
            start = at
    return documents, text


def _take_rows(text: str) -> tuple[list[Any], str]:
    """Return the records of CSV rows that were pasted into a text, and the rest of the text.

    Raises:
        InputError: There are rows without a header, or a row does not fit it.
    """
    if "\n" not in text and "\\n" in text:  # typed in a shell, which leaves \n unchanged
        text = text.replace("\\n", "\n")
    lines = text.split("\n")
    for at, line in enumerate(lines):
        lead, _, header = line.rpartition(": ")
        for before, first in (("", line), (lead, header)):
            delimiter = _delimiter(first)
            if not delimiter or not _is_header(first, delimiter):
                continue
            end = at + 1
            while end < len(lines) and delimiter in lines[end]:
                end += 1
            if end > at + 1:
                block = "\n".join([first.strip(), *(row.strip() for row in lines[at + 1 : end])])
                records = parse_records(block, "the text", ".csv")
                rest = [*lines[:at], before, *lines[end:]]
                return records, "\n".join(rest)
    rows = [line for line in lines if line.strip()]
    if rows and all(map(_is_row, rows)):
        raise InputError(
            "these rows have no header: put a line with the names of the fields above them, such "
            "as name,email,country"
        )
    return [], text


def _delimiter(line: str) -> str:
    """Return the separator of a row's cells, or an empty string if it is not a row."""
    best = max(",;\t", key=line.count)
    return best if best in line else ""


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]


def _is_header(line: str, delimiter: str) -> bool:
    cells = _cells(line.strip(), delimiter)
    return len(set(cells)) == len(cells) and all(map(HEADER_CELL.fullmatch, cells))


def _is_row(line: str) -> bool:
    """Whether a line consists of cells, one of them an e-mail address and one not."""
    delimiter = _delimiter(line)
    if not delimiter or f"{delimiter} " in line:
        return False
    cells = _cells(line.strip(), delimiter)
    addresses = [cell for cell in cells if EMAIL.fullmatch(cell)]
    return 0 < len(addresses) < len(cells)


def may_go_on(text: str) -> bool:
    """Whether more lines may belong to this: to rows under a header, or to unclosed JSON."""
    return bool(_rows_of(text)) or _is_open(text)


def goes_on(text: str, following: str) -> bool:
    """Whether a line continues the text before it."""
    delimiter = _rows_of(text)
    if delimiter:
        return following.count(delimiter) == text.split("\n", 1)[0].count(delimiter)
    return True


def _rows_of(text: str) -> str:
    """Return the separator of the header with which a text begins, if it does."""
    first = text.split("\n", 1)[0]
    delimiter = _delimiter(first)
    is_header = delimiter and f"{delimiter} " not in first and _is_header(first, delimiter)
    return delimiter if is_header else ""


def _is_open(text: str) -> bool:
    bracket = re.search(r"\{|\[\s*(?:[\[{\"]|$)", text)
    if bracket is None:
        return False
    try:
        DECODER.raw_decode(text, bracket.start())
    except json.JSONDecodeError as error:
        return error.pos >= len(text.rstrip()) or "Unterminated" in error.msg
    except (ValueError, RecursionError):
        pass
    return False


# --- files ---------------------------------------------------------------------------------------


def _take_files(text: str, files: list[str], notes: list[str]) -> str:
    """Move the files that a text names to ``files``; return the remaining words."""
    tokens = text.split()
    rest: list[str] = []
    for at, token in enumerate(tokens):
        name = _bare(token)
        if re.match(r"[a-z]+://", name):
            raise InputError(f"cannot read {name}: save it to a file and name the file")
        before = [_bare(word).lower() for word in tokens[:at]]
        found = _file_of(name, before, rest, notes)
        if found is None:
            rest.append(token)
        else:
            files.append(found)
            start = token.find(name)
            rest.append(token[start + len(name) :] if start >= 0 else "")  # "a.csv, then …"
    return " ".join(rest)


def _with_slash(match: re.Match[str]) -> str:
    word = match[1].lower()
    return f"{match[1]} {match[2]}/" if word in IN or _is_verb(word) else match[0]


def _bare(token: str) -> str:
    """Return a word without its surroundings: quotes, brackets, the end of a sentence."""
    name = token.strip("\"'`“”()").rstrip(",.;:!?").rstrip("\"'`”)")
    return re.sub(r"(?<=\w)['\u2019]s$", "", name) if "/" not in name else name


def _file_of(name: str, before: list[str], rest: list[str], notes: list[str]) -> str | None:
    """Return the file that a word names, if it does; the words before it may belong to its name."""
    if not name:
        return None
    if _is_plain_word(name):
        return name if _names_a_file(name, before) else None
    try:
        return name if is_file(name) else None
    except InputError:
        for count in range(1, min(4, len(rest) + 1)):  # "my data.csv"
            joined = " ".join([*rest[-count:], name])
            if Path(joined).expanduser().is_file():
                del rest[-count:]
                return joined
        other = _in_other_case(name)
        if other is None:
            raise
        notes.append(f"read {name!r} as {other!r}")
        return other


def _is_plain_word(name: str) -> bool:
    return re.fullmatch(r"[\w-]+", name) is not None


def _names_a_file(word: str, before: list[str]) -> bool:
    """Whether a bare word is the name of something here, and not a word of the sentence."""
    if not os.path.exists(word) or word.isdigit():
        return False
    last = before[-1] if before else ""
    if word.lower() not in KNOWN:
        return True
    # "count the words in data", but not "validate this data" and not "the validation".
    return last in IN | FILE_NOUNS or (
        word.lower() not in DETERMINERS | BREAKS | IN and bool(before) and _is_verb(last)
    )


def _is_verb(word: str) -> bool:
    return stem(word) in STRONG_STEMS


def _in_other_case(name: str) -> str | None:
    """Return the only file with this name, ignoring case."""
    path = Path(name).expanduser()
    try:
        same = [one for one in os.listdir(path.parent) if one.lower() == path.name.lower()]
    except OSError:
        return None
    return str(path.parent / same[0]) if len(same) == 1 else None


# --- the file to write ---------------------------------------------------------------------------

Token = re.Match[str]
TOKEN = re.compile(r"\"[^\"\n]+\"|'[^'\n]+'(?=\W|$)|“[^”\n]+”|\S+")


def _take_output(text: str) -> tuple[str | None, str]:
    """Return the file for the results, and the text without mentioning it.

    Raises:
        InputError: Something should be saved, but no file is named; or two are.
    """
    tokens = list(TOKEN.finditer(text))
    found = [one for finder in (_after_arrow, _after_verb, _after_into) for one in finder(tokens)]
    if not found:
        return None, text
    names = {name for name, _, _ in found}
    if len(names) > 1:
        raise InputError(f"one file to write at a time, got {' and '.join(sorted(names))}")
    name, first, last = found[0]
    between = " ".join(token.group() for token in tokens[first:last])
    said = [_bare(word).lower() for word in between.split()]
    about = [word for word in said if word != name.lower() and not SAVE.fullmatch(word)]
    while about and about[-1] in INTO | IN | DETERMINERS | FILE_NOUNS | CALLED:
        about.pop()
    between = " ".join(about)
    if all(word in SMALL_TALK | BREAKS for word in about):
        between = ""  # "save everything to"
    before, after = text[: tokens[first].start()], text[tokens[last].end() :]
    return name, f"{before} . {between} . {after}"


def _after_arrow(tokens: list[Token]) -> Iterator[tuple[str, int, int]]:
    """``> out.json``, as in a shell."""
    for at, token in enumerate(tokens):
        word = token.group()
        if word in ARROWS and at + 1 < len(tokens):
            name = _bare(tokens[at + 1].group())
            if _is_file_name(name) or (word == ">" and name.lower() not in KNOWN):
                yield name, at, at + 1
        elif match := re.fullmatch(r">{1,2}([^>]+)", word):
            yield _bare(match[1]), at, at


def _after_verb(tokens: list[Token]) -> Iterator[tuple[str, int, int]]:
    """``save the results to out.jsonl``, ``in out.jsonl speichern``."""
    words = [_bare(token.group()).lower() for token in tokens]
    for at, word in enumerate(words):
        if not SAVE.fullmatch(word) or (at and words[at - 1] in DETERMINERS):
            continue
        end = min(len(tokens), at + 1 + LONGEST_SENTENCE)
        places: list[int] = []
        for place in range(at + 1, end):
            if _is_name(tokens, place, words):
                places.append(place)
            if tokens[place].group().endswith((";", "!")):
                break
        into = [place for place in places if _lead(words, place) in INTO or place == at + 1]
        places = into or [p for p in places if not os.path.exists(_bare(tokens[p].group()))]
        if places:
            yield _bare(tokens[places[0]].group()), _start(words, at), places[0]
        elif at >= 2 and words[at - 2] in IN | INTO and _is_name(tokens, at - 1, words):
            yield _bare(tokens[at - 1].group()), at - 2, at
        elif (
            word not in ("print", "put", "output") and SMALL_TALK.issuperset(words[at + 1 : end])
        ) or set(words[at + 1 : end]) & INTO & {"to", "into", "as", "nach", "als"}:
            raise InputError(f"{word} to which file? Name it, as in: {word} to results.jsonl")


def _is_file_name(name: str) -> bool:
    return FILE_NAME.fullmatch(name.replace(" ", "_")) is not None


def _start(words: list[str], at: int) -> int:
    """Return where a clause about saving begins: "and then save …"."""
    while at and words[at - 1] in ("and", "then", "please", "und", "dann", "bitte", "&"):
        at -= 1
    return at


def _lead(words: list[str], place: int) -> str:
    """Return the word that leads to a name, skipping "the file"."""
    at = place - 1
    while at > 0 and (words[at] in DETERMINERS or words[at] in FILE_NOUNS | CALLED):
        at -= 1
    return words[at] if at >= 0 else ""


def _is_name(tokens: list[Token], place: int, words: list[str]) -> bool:
    """Whether a word is the name of a file that a phrase may lead to."""
    raw, name = tokens[place].group(), _bare(tokens[place].group())
    lead = _lead(words, place)
    if EMAIL.fullmatch(name) or re.match(r"[a-z]+://", name):
        return False
    if lead not in IN | INTO | {""} and not SAVE.fullmatch(lead):
        return False
    if SAVE.fullmatch(lead):  # "save out.jsonl"
        return _is_file_name(name) and not os.path.exists(name)
    if _is_file_name(name):
        return lead != ""
    is_last = place + 1 == len(tokens) or raw[-1] in ".,;!" or words[place + 1] in BREAKS
    plain = _is_plain_word(name) and name.lower() not in KNOWN | NO_NAMES
    return is_last and plain and lead in INTO | {"in"}


def _after_into(tokens: list[Token]) -> Iterator[tuple[str, int, int]]:
    """``people.csv to out.jsonl``, ``output: out.jsonl``: without a verb."""
    words = [_bare(token.group()).lower() for token in tokens]
    verbs = any(SAVE.fullmatch(word) for word in words)
    for at, token in enumerate(tokens):
        name = _bare(token.group())
        if not _is_file_name(name) or EMAIL.fullmatch(name) or "://" in name or not at:
            continue
        lead, said = _lead(words, at), words[at - 1]
        if said in ("=", "") and at >= 2:  # "output = out.jsonl"
            said = words[at - 2]
        if said in ("output", "-o", "--output", "ausgabe", "out") or (
            lead in ("to", "into", "nach") and not verbs
        ):
            if os.path.exists(name) and said in ("to", "into", "nach"):
                raise InputError(
                    f"is {name} to be read or written? To write it: save to {name}. To read it, "
                    f"leave out {said!r}"
                )
            yield name, at - 1 if words[at - 1] == said else at - 2, at
        elif (
            lead == "in"
            and not verbs
            and not os.path.exists(name)
            and at >= 2
            and words[at - 2] in ("results", "result", "output", "ergebnis", "ergebnisse")
        ):
            yield name, at - 2, at
