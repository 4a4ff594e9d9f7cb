"""What a report says of a study in words: it follows from the paired tests, and claims nothing that they do not."""

import re
from pathlib import Path

import numpy as np
import pytest
from reports import ROWS, cell, climb, finish

from ablate.analysis import frames, tables
from ablate.analysis.headline import paragraphs, reservations


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reward-to-go is far ahead in "clear"; in "close" both variants are given the same returns and noise, on
    other seeds."""
    folder = tmp_path_factory.mktemp("outputs")
    for study, tops, noises in (("clear", (100, 20), (2.0, 50.0)), ("close", (100, 100), (2.0, 2.0))):
        for phi, top, noise in zip(("rtg", "return"), tops, noises, strict=True):
            made = cell(folder, study, f"phi={phi}")
            for seed in range(6):
                drawn = seed + (study == "close" and phi == "rtg")
                finish(made, seed, climb(top, drawn), noise + 0.5 * (drawn % 3))
    return folder


def headline(outputs: Path, study: str) -> list[str]:
    loaded = frames.load(outputs, study)
    return [*map(" ".join, paragraphs(loaded)), *reservations(loaded)]


def test_a_clear_leader_is_called_one_by_the_paired_test(outputs: Path) -> None:
    """Six seeds of six agree, so that the tests have p = 2 / 64."""
    first, *rest = headline(outputs, "clear")
    assert first.startswith(
        "By paired tests over shared seeds, reward-to-go has the fewest environment steps to the threshold, the "
        "highest final return, the least noise"
    )
    # the return averaged over 5 iterations passes 50 of 100 between the rows of 700 and 800 steps, at every seed
    assert re.search(
        r"mean return of 50: reward-to-go [78]00 \[[78]00, 800\] \(100% of the runs solve it\); return ∞", rest[0]
    )
    assert rest[0].endswith("By paired tests, reward-to-go solves sooner than return (p = 0.031).")
    assert re.search(r"Final return: reward-to-go (99|100|9\d\.\d+|10\d\.?\d*) \[\d[^(]*\(worst quarter 99\)", rest[1])
    assert rest[1].endswith("By paired tests, reward-to-go ends above return (p = 0.031).")


def test_every_sentence_of_the_headline_begins_with_a_capital_letter(tmp_path: Path) -> None:
    """Reward-to-go learns more and the return is less noisy, so that two variants lead."""
    for phi, top, noise in (("rtg", 100, 50.0), ("return", 20, 2.0)):
        made = cell(tmp_path, "split", f"phi={phi}")
        for seed in range(6):
            finish(made, seed, climb(top, seed), noise + 0.5 * (seed % 3))
    first = headline(tmp_path, "split")[0]
    assert re.search(r"seeds, reward-to-go has the [^:]*return and return has the least noise", first)
    assert not re.search(r"\. [a-z]", first)


def test_what_no_test_decides_is_not_settled_and_nobody_is_called_ahead(outputs: Path) -> None:
    first, *rest = headline(outputs, "close")
    assert first.startswith("By paired tests over shared seeds, no variant is ahead of every other. ")
    assert "It is not settled which has " in first
    assert any("No test separates " in text for text in rest)
    assert not any(word in text for text in rest for word in ("ends above", "solves sooner"))


def test_the_best_of_three_is_ahead_only_of_whom_the_test_says(tmp_path: Path) -> None:
    """Advantage and reward-to-go are above the return on each of ten seeds, and above one another on five each: the
    intervals of the two lie apart from the return's, and the one that happens to be first is not called the best."""
    for phi, low, swing in (("return", 20, 0), ("rtg", 80, 10), ("advantage", 81, -10)):
        made = cell(tmp_path, "three", f"phi={phi}")
        for seed in range(10):
            finish(made, seed, climb(low, seed) + swing * (-1) ** seed * np.linspace(0, 1, ROWS))
    first, *rest = headline(tmp_path, "three")
    assert "the highest final return (unbeaten: advantage and reward-to-go)" in first
    final = next(text for text in rest if text.startswith("Final return"))
    assert "advantage ends above return (p = " in final
    assert "reward-to-go ends above return (p = " in final
    assert re.search(r"No test separates (advantage and reward-to-go|reward-to-go and advantage) \(p = ", final)
    paired = tables.paired_differences(frames.load(tmp_path, "three"))
    for row in paired.itertuples():
        assert (row.final_return_p <= 0.05) == ("return" in (row.label, row.against))


def test_cells_compete_only_on_one_problem(tmp_path: Path) -> None:
    """Reward-to-go leads on each horizon; that all returns are higher on the longer one is no lead over the other."""
    for horizon, more in ((5, 0), (10, 1000)):
        for phi, top in (("rtg", 100), ("return", 20)):
            made = cell(tmp_path, "two", f"phi={phi}", f"env.horizon={horizon}")
            for seed in range(6):
                finish(made, seed, climb(top, seed) + more)
    first, second = headline(tmp_path, "two")[:2]
    assert first.startswith(
        "On chain env.horizon=5, by paired tests over shared seeds, reward-to-go has the fewest environment steps"
    )
    assert second.startswith(
        "On chain env.horizon=10, by paired tests over shared seeds, reward-to-go has the highest final return"
    )


def test_many_problems_are_counted(tmp_path: Path) -> None:
    for horizon in (3, 4, 5, 6):
        for phi, top in (("rtg", 100), ("return", 20 if horizon < 6 else 180)):
            made = cell(tmp_path, "many", f"phi={phi}", f"env.horizon={horizon}")
            for seed in range(6):
                finish(made, seed, climb(top, seed))
    told = " ".join(headline(tmp_path, "many"))
    assert "The highest final return, by paired tests over shared seeds on 4 problems: reward-to-go on 3 and " in told
    assert "return on 1." in told
