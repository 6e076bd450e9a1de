"""The vocabulary of free text: words that ask for a workflow, and words that ask for nothing.

English, and enough German for the same requests. Words are compared by their stems.
"""

import re

from examples.workflow import NAMES, load


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that ask for a workflow wherever they occur. Other words of a workflow, which may be as
# common as "file", only count in a clause that has none of these.
STRONG = {
    "validation": "validate validation verify verification check audit inspect vet "
    "validiere validieren validierung prüfe prüfen prüfung überprüfe überprüfen pruefe pruefen "
    "ueberpruefe kontrolliere kontrollieren",
    "enrichment": "enrich enrichment augment complement supplement "
    "anreichern anreicherung reichere ergänze ergänzen ergaenze",
    "batch": "batch hash parse chunk measure checksum sha256 digest analyse analyze "
    "hashe hashen prüfsumme prüfsummen analysiere analysieren",
    "mapreduce": "mapreduce count tally frequency wordcount reduce histogram "
    "zähle zählen zaehle zaehlen häufigkeit",
    "pipeline": "pipeline stream streaming etl ingest ingestion pipe streame",
}
WEAK = {
    "batch": _words("functions classes lines files funktionen klassen zeilen"),
    "mapreduce": _words("words wörter woerter"),
}
# Words for the bundled data of the workflows that process files: without them, or file names,
# a text has to name files.
SAMPLE = _words(
    """library stdlib standard standardbibliothek bibliothek python bundled sample samples example
    examples beispiel beispiele demo batch mapreduce workflow workflows"""
)
# Those that ask for all workflows; in "hash all my files" they refer to the data.
ALL = _words("everything all alles rest")
OTHERS = _words("my our your their things stuff them meine unsere")  # data that is not the sample
# Words that point at data named by another word: "this data", but not "this song".
POINTERS = _words("this these it them diese dieser dieses")
# Words about the data and the manner, which ask for nothing.
SMALL_TALK = _words(
    """a an the this that these those it its them they their my our your me i you we us he she
    please kindly can could would should will want need like let lets go run do does did make
    give get take show tell start execute perform try use using work works job task workflow
    workflows example now here there quickly carefully fully all any each every both some of in
    on for from to with by at as into over through about against per via is are be been was
    were has have had which who whose what where when how many much very really just only again
    once also too first second last next finally afterwards later new old good bad valid
    invalid own real whole entire data datum dataset datasets record records row rows entry
    entries item items object objects json jsonl csv list lists table file files folder folders
    directory input inputs output result results user users customer customers client clients
    person people member members profile profiles account accounts contact contacts email
    emails mail address addresses e-mail e-mails name names phone phones number numbers city
    cities country countries company companies order orders information info details detail
    field fields value values text texts word words string strings sample samples stuff thing
    things one ones parallel concurrently together up out standard python code source sources
    following given attached below above way line lines worker workers thread threads process
    processes hi hello hey thanks thank everything help whether if look see there so ok okay
    got im whats theres well might may plz pls anything something everyone somebody maybe
    perhaps quick simply still already asap cheers dear sir well yo hmm oh uh um actually
    morning afternoon evening today yesterday grateful appreciate appreciated glad happy lot mind
    display print why nah
    basically contain contains often occur occurs most common frequent appear appears mean
    means times top more else compute
    report reports summary summaries outcome outcomes findings bericht

    der die das den dem des ein eine einen einem einer dieser diese dieses diesen diesem meine
    meinen mein unsere unser deine bitte mal mir uns ich du wir sie es ihr ist sind war hat
    haben im aus von vom für mit zu zur zum auf an bei alle alles jede jeden jeder daten datei
    dateien datensatz datensätze datensätzen kunde kunden nutzer benutzer person personen leute
    liste tabelle ordner verzeichnis ergebnis ergebnisse adresse adressen wort wörter woerter
    text texte zeile zeilen kannst könntest koenntest würdest hallo danke jetzt hier doch
    einmal wie was wer wo welche viele mehr auch noch nur hilfe ob erzähl erzähle sag sage zeig
    zeige gib etwas guck schau mach mache"""
)
NEGATIONS = _words(
    "dont not never no without skip except excluding omit ignore nicht ohne kein keine keinen"
)
SUFFIXES = (
    "ication", "ying", "ied", "ies", "ments", "ment", "ings", "ing", "ions", "ion", "ers", "ors",
    "er", "or", "ed", "es", "e", "s", "y",
)  # fmt: skip
# A clause ends here. "but" and "then" also end what a negation reaches.
BREAKS = _words(
    "and or nor & then but , ; . ! ? : + >> -> → plus followed instead und oder dann danach "
    "sondern aber"
)
ENDS_NEGATION = BREAKS - {"and", "or", "nor", "&", "und", "oder"}

# Kinds of work as much as names of a workflow: "this batch", "the validation pipeline".
GENERIC = _words("batch batches pipeline pipelines stream streams pipe")
BEFORE_A_NOUN = _words("a an the this that these those my our your each in of as from")

# --- around files ---------------------------------------------------------------------------------

DETERMINERS = _words(
    "a an the this that these those my our your their his her its some any all each every der die "
    "das den dem des ein eine einen einem einer dieser diese dieses diesen diesem meine meinen"
)
FILE_NOUNS = _words("file files folder folders directory dir path datei dateien ordner verzeichnis")
# Words that say that the data are in files.
FILES = FILE_NOUNS | _words("csv json jsonl tsv")
IN = _words("in from of on at inside under within aus im vom von auf")
INTO = _words("to into as nach under unter als")
# Names of formats and places, which are not file names: "save as json", "print to the screen".
NO_NAMES = _words(
    """disk disc file json jsonl csv tsv excel screen stdout console terminal me it them database
    db sqlite folder directory datei konsole bildschirm festplatte ordner there here"""
)
SAVE = re.compile(
    r"(?:written|save|store|write|export|dump|output|put|print|redirect)(?:s|d|ed|ing)?|saving|storing|"
    r"writing|speicher[en]*|schreib[en]*|sicher[en]*|exportier[en]*|ablegen|lege"
)

# --- what is asked of data -----------------------------------------------------------------------

# What says that there is data, in the text or elsewhere.
DATA = _words(
    """data dataset record records row rows user users customer customers person people profile
    profiles contact contacts email emails address addresses file files list table entries
    items this these it them json csv words lines orders daten datei dateien datensatz
    datensätze kunden nutzer personen leute diese dieser dieses wörter zeilen"""
)
# "Are the records in good.csv ok?", of data that is named: validation.
STATE = _words(
    """ok okay valid invalid fine good bad clean correct incorrect right wrong broken malformed
    problem problems error errors issue issues mistake mistakes fault faults trust trustworthy
    deliverable disposable safe unsafe suspicious fake spam legit legitimate complete sane
    proper sound accurate dirty corrupt corrupted dangerous harmful gültig gültige gueltig
    ungültig ungültige richtig falsch fehler korrekt inkorrekt ordnung sauber kaputt probleme
    problem stimmt stimmen echt"""
)
# "Tell me about mira@example.com": enrichment.
ABOUT = _words(
    """about know known who whos info information details background lookup find company employer
    works where whois behind research profile learn discover dossier
    über ueber wer weißt weisst kennst
    infos informationen firma arbeitet wo"""
)
# What may stand around data that is all the text gives: validation and enrichment.
BARE = _words(
    """here is are this these that it the a an my our some please this there you go im um data
    record records row rows json csv user users customer customers email emails address
    addresses e-mail e-mails following attached below take look at look hier ist sind die das
    der meine daten bitte and und"""
)
# "Load people.csv into people.db": the pipeline.
LOAD = _words("load import insert copy move lade importiere")
HOW_TO = re.compile(
    r"\s*(?:how (?:do|can|could|should|would|might) (?:i|we|one|you)|how to|how does (?:this|it)|"
    r"(?:what|which \w+) (?:can|could|do|should) (?:you|i|we|it|this)|what else|"
    r"what(?:'s| is| are| does| do)(?: an?| the)? (?:valid|enrich|batch|map|pipeline|kaygraph|"
    r"this\b|that\b|it\b)|explain|describe|wie (?:kann|mache|geht|funktioniert)|"
    r"was (?:kannst|kann|gibt es|soll)|"
    r"was (?:ist|macht|heißt) (?:die |der |eine? )?(?:valid|anreich|batch|map|pipeline))",
    re.IGNORECASE,
)
HELP = _words("help hilfe usage commands options manual instructions")


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


def weak_stems() -> dict[str, str]:
    """Return the stems of the workflows' own words; a word of two workflows asks for neither."""
    owners: dict[str, set[str]] = {}
    for name in NAMES:
        for word in load(name).words | WEAK.get(name, frozenset()):
            owners.setdefault(stem(word), set()).add(name)
    return {key: next(iter(names)) for key, names in owners.items() if len(names) == 1}


# All words that mean something here: the name of a file that is one of them has to be called one.
KNOWN = frozenset(
    {word for words in STRONG.values() for word in words.split()}
    | {word for words in WEAK.values() for word in words}
    | SMALL_TALK
    | NEGATIONS
    | BREAKS
    | SAMPLE
    | STATE
    | ABOUT
    | HELP
)


def nearest(word: str) -> str | None:
    """Return the word that a misspelt one stands for; None when none is near enough.

    One letter may be wrong, missing, too many or out of its place; in a word of eight, two.
    """
    if len(word) < 4:
        return None
    near = [
        (distance(word, known), known)
        for words in STRONG.values()
        for known in words.split()
        if len(known) >= 5 and known[0] == word[0] and abs(len(known) - len(word)) <= 2
    ]
    if not near:
        return None
    letters, known = min(near, key=lambda pair: pair[0])
    return known if letters <= (1 if len(known) < 8 else 2) else None


def distance(one: str, other: str) -> int:
    """Return how many letters have to be changed, put in, taken out or swapped with the next."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, start=1):
        earlier, before, row = before, row, [at]
        for column, its in enumerate(other, start=1):
            least = min(before[column] + 1, row[-1] + 1, before[column - 1] + (letter != its))
            swapped = at > 1 and column > 1 and letter == other[column - 2] and one[at - 2] == its
            row.append(min(least, earlier[column - 2] + 1) if swapped else least)
    return row[-1]
