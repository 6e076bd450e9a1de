"""What free text is understood as."""

import pytest

from examples.inputs import InputError
from examples.prompt import NotUnderstoodError, understand
from examples.vocabulary import STRONG, stem
from examples.workflow import NAMES, load

V, E, B, M, P = NAMES


@pytest.mark.parametrize(
    ("text", "workflows"),
    [
        ("Validate and enrich this user data", [V, E]),
        ("enrich, then validate", [E, V]),
        ("VALIDATE!!!", [V]),
        ("validation >> enrichment -> batch", [V, E, B]),
        ("please verify the customers & augment them", [V, E]),
        ("validate, enrich and validate again", [V, E]),
        ("map-reduce it", [M]),
        ("map and reduce the words", [M]),
        ("how many functions are there in the library?", [B]),
        ("the files please", [B]),
        ("validate the files", [V]),
        ("validate these lines; then show me the words", [V]),
        ("count the words", [M]),
        ("stream the records", [P]),
        ("validate this batch of records", [V]),
        ("run the validation pipeline", [V]),
        ("run the batch", [B]),
        ("enrich after validating", [V, E]),
        ("after validating, enrich", [V, E]),
        ("before enriching, validate it", [V, E]),
        ("enrich before the batch", [E, B]),
    ],
)
def test_words_choose_workflows_in_their_order(text: str, workflows: list[str]) -> None:
    """Verbs, nouns and synonyms ask for workflows, each once, in the order of the words."""
    assert understand(text).workflows == workflows


@pytest.mark.parametrize(
    ("text", "workflows"),
    [
        ("don't enrich, just validate", [V]),
        ("validate but don\u2019t enrich", [V]),
        ("validate without enrichment", [V]),
        ("skip validation and enrich", [E]),
        ("without validation and enrichment, batch", [B]),
        ("don't validate or enrich, but count the words", [M]),
        ("don't just validate, enrich too", [V, E]),
        ("not only validate but also enrich", [V, E]),
    ],
)
def test_negations_rule_out_what_follows_them(text: str, workflows: list[str]) -> None:
    """What is ruled out does not run, and the rest does."""
    assert understand(text).workflows == workflows


def test_all_ruled_out_is_refused() -> None:
    """Nothing runs in place of what was ruled out."""
    with pytest.raises(NotUnderstoodError, match="rules out validation and enrichment"):
        understand("please don't validate and enrich")


@pytest.mark.parametrize(
    ("text", "less"),
    [
        ("run everything", []),
        ("all examples, please", []),
        ("run it all", []),
        ("show me everything you can do", []),
        ("everything but validation", [V]),
        ("all of them except the pipeline", [P]),
        ("all but validation and batch", [V, B]),
        ("everything except mapreduce, batch and enrichment", [E, B, M]),
        ("skip enrichment, run the rest", [E]),
        ("run every workflow but not map-reduce", [M]),
    ],
)
def test_everything_is_all_less_what_is_ruled_out(text: str, less: list[str]) -> None:
    """In the order in which they are listed."""
    assert understand(text).workflows == [name for name in NAMES if name not in less]


@pytest.mark.parametrize("text", ["validate everything", "check all", "validate all of it again"])
def test_everything_may_be_the_data(text: str) -> None:
    """Where a workflow is named, it is what that works on."""
    assert understand(text).workflows == [V]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("make me a sandwich", "sandwich"),
        ("validate and translate", "translate"),
        ("translate then enrich", "translate"),
        ("match the lines", "match"),
        ("invalidate the cache", "invalidate"),
    ],
)
def test_a_task_that_cannot_be_placed_is_refused(text: str, word: str) -> None:
    """The word is named, with what is understood, even next to a valid task."""
    with pytest.raises(NotUnderstoodError, match=f"do not understand '{word}'") as caught:
        understand(text)
    assert "I understand: validate" in str(caught.value)


def test_unknown_words_are_reported_in_a_line() -> None:
    """Each once, a few of them, and no longer than a name."""
    text = f"{'x' * 500} sandwich sandwich a1 b2 c3 d4 e5 f6"
    with pytest.raises(NotUnderstoodError) as caught:
        understand(text)
    shown = f"'{'x' * 40}…', 'sandwich', 'a1', 'b2', 'c3', 'd4' and 2 more"
    assert caught.value.reason == f"I do not understand {shown}."


def test_a_question_about_the_patterns_is_answered() -> None:
    """They are not a workflow."""
    with pytest.raises(NotUnderstoodError, match=r"main\.py --example patterns") as caught:
        understand("run the patterns")
    assert "do not understand 'patterns'" in str(caught.value)


@pytest.mark.parametrize("text", ["", "hello", "this data, please", "..."])
def test_a_text_without_a_task_is_refused(text: str) -> None:
    """Small talk alone runs nothing."""
    with pytest.raises(NotUnderstoodError, match="nothing to do"):
        understand(text)


def test_misspelt_words_are_read_and_reported() -> None:
    """A near miss is taken for the word, and the person is informed."""
    request = understand("vallidate and enirch this")
    assert request.workflows == [V, E]
    assert request.notes == ["read 'vallidate' as 'validate'", "read 'enirch' as 'enrich'"]


def test_words_left_over_are_reported() -> None:
    """A word next to a task that the rules cannot use is not dropped silently."""
    assert understand("validate the Norwegian customers").notes == ["not used: norwegian"]


def test_numbers_become_workers_and_limits() -> None:
    """A number before what is counted is an option."""
    request = understand("stream 1,500 records with 3 workers")
    assert (request.workflows, request.limit, request.workers) == ([P], 1500, 3)


def test_data_in_the_text_is_not_read_as_words() -> None:
    """Words within JSON and quotes ask for nothing."""
    request = understand('validate {"task": "enrich"} not "count the words"')
    assert request.workflows == [V]
    assert request.found.records == [{"task": "enrich"}]


def test_malformed_data_is_reported_before_the_words() -> None:
    """Broken JSON is an error of its own."""
    with pytest.raises(InputError, match="JSON in the text is malformed"):
        understand('validate {"email": ')


@pytest.mark.parametrize("name", NAMES)
def test_every_word_of_a_workflow_asks_for_it(name: str) -> None:
    """What a workflow calls itself, and every synonym, chooses it and no other."""
    words = {"invalid", "valid"}  # say what records are, not what to do
    for word in (load(name).words | set(STRONG[name].split())) - words:
        assert understand(word).workflows == [name], word


@pytest.mark.parametrize(
    "forms",
    [
        ("validate", "validates", "validated", "validating", "validation"),
        ("verify", "verifies", "verified", "verifying", "verification"),
        ("map", "maps", "mapped", "mapping", "mapper"),
        ("enrich", "enriches", "enriched", "enriching", "enrichment"),
    ],
)
def test_forms_of_a_word_share_its_stem(forms: tuple[str, ...]) -> None:
    """Inflections are one word."""
    assert len(set(map(stem, forms))) == 1


def test_valid_does_not_mean_validate() -> None:
    """What records are is not what is done with them."""
    assert stem("valid") != stem("validate")
    assert understand("enrich the valid records").workflows == [E]


def test_another_may_choose_and_gets_the_words_alone() -> None:
    """What chooses workflows gets neither data nor counts, and its notes are kept."""
    seen: list[str] = []

    def choose(words: str) -> tuple[list[str], list[str]]:
        seen.append(words)
        return [B], ["noted"]

    request = understand('do 3 records {"a": 1} and "some words"', choose)
    assert (request.workflows, request.notes, request.limit) == ([B], ["noted"], 3)
    assert request.found.records == [{"a": 1}]
    assert seen[0].split() == ["do", "records", "and"]
