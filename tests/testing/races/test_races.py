"""The planted races are found, and their correct twins are not accused."""

import pytest

from tests.testing.races.corpus import RACES
from tests.testing.races.measuring import first_seed, passes, silence
from tests.testing.races.planting import Race

each_race = pytest.mark.parametrize("race", RACES, ids=[race.name for race in RACES])


def test_there_are_many_races() -> None:
    """Each of them under its own name, and with a sentence that says what is wrong."""
    assert len({race.name for race in RACES}) == len(RACES) >= 40
    assert all(race.kind.endswith(".") for race in RACES)


@pytest.mark.filterwarnings("ignore")  # broken programs leave coroutines behind
@each_race
def test_a_thousand_seeds_find_the_race(race: Race) -> None:
    """Nearly all take fewer than a hundred."""
    with silence():
        assert first_seed(race.main) is not None


@each_race
def test_no_seed_breaks_the_correct_twin(race: Race) -> None:
    """What is found is the race, and not the explorer."""
    assert first_seed(race.twin, seeds=100) is None


@each_race
def test_the_correct_twin_passes_on_a_real_loop(race: Race) -> None:
    """It is a program that works, in the order of asyncio and by the clock."""
    assert passes(race.twin)
