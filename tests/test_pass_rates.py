"""Pass rates: dead groups and noise of group estimators against simulation and closed forms; the command."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ablate.commands.groups import main
from ablate.errors import UserError
from ablate.sequences import advantages, pass_rates
from ablate.sequences.pass_rates import Rates


def known(*p: float) -> Rates:
    return pass_rates.known(p)


@pytest.mark.parametrize(("size", "share"), [(2, 0.702), (4, 0.449), (8, 0.201), (16, 0.040)])
def test_published_dead_groups(size: int, share: float) -> None:
    """Of a prompt with p = .1819."""
    assert pass_rates.dead_share(known(0.1819), size) == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize("name", pass_rates.ESTIMATORS)
def test_moments_of_a_group_are_those_of_drawn_groups(name: str) -> None:
    rng, N, p = np.random.default_rng(0), 5, 0.3
    rewards = (rng.random((200_000, 1, N)) < p).astype(float)
    ghat = (pass_rates.ESTIMATORS[name](rewards) * (rewards - p)).mean((1, 2))
    m, q = pass_rates.group_moments(np.array(p), N, pass_rates.ESTIMATORS[name])
    assert m == pytest.approx(ghat.mean(), abs=5 * ghat.std() / 447)
    assert q == pytest.approx((ghat**2).mean(), abs=5 * (ghat**2).std() / 447)


def test_leave_one_out_is_unbiased_and_the_group_mean_a_share_of_it() -> None:
    p = np.array([0.1, 0.5, 0.9])
    m, _ = pass_rates.group_moments(p, 4, advantages.leave_one_out)
    np.testing.assert_allclose(m, p * (1 - p), rtol=1e-12)
    centred, _ = pass_rates.group_moments(p, 4, advantages.group_mean)
    np.testing.assert_allclose(centred, 0.75 * p * (1 - p), rtol=1e-12)


def test_noise_to_signal_of_an_update_against_drawn_updates() -> None:
    rng, budget, N = np.random.default_rng(1), 32, 4
    some = known(0.1, 0.4, 0.8)
    p = some.points[rng.integers(0, 3, (100_000, budget // N))]
    r = (rng.random((*p.shape, N)) < p[..., None]).astype(float)
    update = (advantages.leave_one_out(r) * (r - p[..., None])).mean((1, 2))
    table = pass_rates.by_group_size(some, budget, [N]).set_index("estimator")
    assert table.loc["RLOO", "nsr"] == pytest.approx(update.var() / update.mean() ** 2, rel=0.02)
    assert table.loc["Dr. GRPO", "nsr"] == pytest.approx(table.loc["RLOO", "nsr"], rel=1e-12)
    assert table.loc["RLOO", "effective"] == pytest.approx(8 * (1 - table.loc["RLOO", "dead"]))


def test_shrinkage_finds_the_prior_that_made_the_rates() -> None:
    rng = np.random.default_rng(2)
    p = rng.beta(2, 5, 20_000)
    a, b = pass_rates.prior(rng.binomial(8, p).astype(float), np.full(20_000, 8.0))
    assert (a, b) == pytest.approx((2, 5), rel=0.06)
    k = rng.binomial(8, p)
    found = pass_rates.observed(k, np.full(20_000, 8.0))
    kinds = len(found.counts)
    alone = pass_rates.posteriors(found.counts, np.eye(kinds), np.tile(found.prior, (kinds, 1)))
    shrunk = (alone @ pass_rates.GRID)[np.searchsorted(found.counts[:, 0], k)]
    assert np.square(shrunk - p).mean() < 0.75 * np.square(k / 8 - p).mean()


@pytest.fixture
def some_answers() -> tuple[np.ndarray, np.ndarray]:
    """60 prompts of 4 to 6 answers, many of them alike."""
    rng = np.random.default_rng(6)
    n = rng.integers(4, 7, 60)
    return rng.binomial(n, rng.beta(1, 2, 60)).astype(float), n.astype(float)


@pytest.mark.parametrize(
    ("k", "n", "prior"),
    [(3, 8, (0.8, 1.5)), (0, 4, (0.05, 0.4)), (64, 64, (5.0, 0.02)), (30_001, 100_000, (1.0, 1.0)), (1, 1, (2e4, 1e5))],
)
def test_a_posterior_has_the_moments_of_its_beta_distribution(k: int, n: int, prior: tuple[float, float]) -> None:
    weights = pass_rates.posteriors(np.array([[k, n]], float), np.ones((1, 1)), np.array([prior]))[0]
    beta, p = stats.beta(prior[0] + k, prior[1] + n - k), pass_rates.GRID
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert weights @ p == pytest.approx(beta.mean(), rel=1e-5)
    assert weights @ p**2 == pytest.approx(beta.moment(2), rel=1e-5)
    assert weights @ (1 - p) ** 8 == pytest.approx(stats.beta(prior[1] + n - k, prior[0] + k).moment(8), rel=1e-5)


def test_prompts_with_the_same_counts_are_one_kind(some_answers) -> None:
    """Every prompt a kind of its own has the same mixture of posteriors, also cut into parts."""
    k, n = some_answers
    kinds = pass_rates.observed(k, n)
    assert len(kinds.number) < kinds.prompts == len(k)
    listed = pass_rates.posteriors(np.stack([k, n], 1), np.full((1, len(k)), 1 / len(k)), np.array([kinds.prior]))
    np.testing.assert_allclose(kinds.weights, listed[0], rtol=1e-9, atol=1e-15)


def test_the_parts_in_which_kinds_are_taken_do_not_matter(some_answers, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pass_rates._resampled(pass_rates.observed(*some_answers))
    monkeypatch.setattr(pass_rates, "AT_ONCE", 3 * len(pass_rates.GRID))
    np.testing.assert_allclose(pass_rates._resampled(pass_rates.observed(*some_answers)), whole, rtol=1e-9, atol=1e-15)


def test_a_resample_is_the_list_of_its_prompts(some_answers) -> None:
    """Its moments are those of the prompts written out one by one, shrunk by a prior of their own."""
    rates = pass_rates.observed(*some_answers)
    resamples = pass_rates._resampled(rates)
    draw = np.random.default_rng(0).multinomial(60, rates.number / 60)
    again = pass_rates.observed(*np.repeat(rates.counts, draw, axis=0).T)
    for size, advantage in ((2, advantages.leave_one_out), (8, pass_rates.ESTIMATORS["GRPO"])):
        moments = pass_rates.group_moments(pass_rates.GRID, size, advantage)
        told = [float(resamples[0] @ moment) for moment in moments]
        assert told == pytest.approx([again.mean(moment) for moment in moments], rel=1e-4)  # the prior's own tolerance


def test_the_prior_is_the_likeliest(some_answers) -> None:
    k, n = some_answers
    a, b = pass_rates.prior(k, n)

    def log_likelihood(a: float, b: float) -> float:
        return stats.betabinom.logpmf(k, n, a, b).sum()

    around = [log_likelihood(a * x, b * y) for x in (0.97, 1, 1.03) for y in (0.97, 1, 1.03) if (x, y) != (1, 1)]
    assert log_likelihood(a, b) > max(around)


def test_limits_cover_the_ratio_of_the_population() -> None:
    """95% limits over prompts, 100 samples of 300 prompts of a Beta population: 84 or more hold it (5 sigma)."""
    rng = np.random.default_rng(3)
    population = rng.beta(0.8, 1.5, 200_000)
    moments = partial(pass_rates.group_moments, size=8, advantage=advantages.leave_one_out)
    m, q = moments(population)
    truth = (q.mean() - m.mean() ** 2) / 128 / m.mean() ** 2
    covered = 0
    for _ in range(100):
        table = pass_rates.by_group_size(pass_rates.known(rng.choice(population, 300)), 1024, [8]).iloc[0]
        covered += table["nsr_low"] <= truth <= table["nsr_high"]
    assert covered >= 84


def test_limits_of_shrunk_rates_cover_too() -> None:
    """4 answers a prompt, 100 prompts of Beta(2, 8), 10 samples: 8 or more hold the truth. Under the prior of the
    whole sample alone 40% do, as the shrunk rates hardly vary."""
    rng = np.random.default_rng(5)
    p = rng.beta(2, 8, 200_000)
    m, q = pass_rates.group_moments(p, 4, advantages.leave_one_out)
    truth = (q.mean() - m.mean() ** 2) / 64 / m.mean() ** 2
    covered = 0
    for _ in range(10):
        found = pass_rates.observed(rng.binomial(4, rng.beta(2, 8, 100)), np.full(100, 4.0))
        table = pass_rates.by_group_size(found, 256, [4]).iloc[0]
        assert table["nsr_low"] < table["nsr"] < table["nsr_high"]
        covered += table["nsr_low"] <= truth <= table["nsr_high"]
    assert covered >= 8


@pytest.mark.parametrize("rates", [known(0.375, 0.625), pass_rates.observed([3, 5], [8, 8])])
def test_two_prompts_bound_nothing_of_others(rates: Rates) -> None:
    """3 and 5 of 8 right: limits of resamples, (3, 3), (3, 5) and (5, 5), would differ by a hair."""
    table = pass_rates.by_group_size(rates, 64, [2, 8])
    assert np.isfinite(table["nsr"]).all()
    assert (table["nsr_low"] == 0).all()
    assert np.isinf(table["nsr_high"]).all()
    assert "Fewer than 12 prompts do not bound" in pass_rates.paragraph(rates, table, 64)
    enough = known(*np.linspace(0.1, 0.9, pass_rates.FEWEST))
    table = pass_rates.by_group_size(enough, 64, [2, 8])
    assert np.isfinite(table["nsr_high"]).all()
    assert "Fewer than" not in pass_rates.paragraph(enough, table, 64)


def test_the_command_prints_writes_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "rates.csv"
    pd.DataFrame({"prompt": ["a", "b", "c"], "k": [0, 3, 8], "n": [8, 8, 8]}).to_csv(path, index=False)
    csv, plot = tmp_path / "out.csv", tmp_path / "out.svg"
    assert main(["--rates", str(path), "--sizes", "2,8", "--csv", str(csv), "--plot", str(plot)]) == 0
    said = capsys.readouterr().out
    assert "dead groups" in said
    assert len(pd.read_csv(csv)) == 2 * len(pass_rates.ESTIMATORS)
    assert plot.stat().st_size > 1000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prompt,k,n\na,9,8\n", "prompt a: k is 9, n is 8; whole numbers 0 <= k <= n, n >= 1 does not hold"),
        ("prompt,k,n\na,x,8\n", "prompt a: k is x, n is 8; whole numbers"),
        ("prompt,k,n\na,3,1e400\n", "prompt a: k is 3, n is 1e400; whole numbers"),
        ("prompt,k,n,p\na,3,8,\nb,,,.4\n", "prompt b: k is empty, n is empty; whole numbers"),
        ("prompt,k,n,k\na,3,8,1\n", "two columns k; keep one of them"),
        ("prompt;k;n\na;3;8\n", "it needs prompt,k,n or prompt,p; part them by commas"),
        ("prompt,k,n\n ,3,8\n", "a row without a prompt"),
        ("prompt,p\na,0,3\n", "more fields than its first line names"),
        ("prompt,k,n\na,3,8,9\n", "more fields than its first line names"),
        ("prompt,p\na,30%\n", "prompt a: p is 30%; 0 <= p <= 1 does not hold"),
        ("prompt,p\na,nan\n", "0 <= p <= 1 does not hold"),
        ("prompt,p\na,.5\na,.6\n", "names prompt a twice"),
        ("prompt,rate\na,.5\n", "it needs prompt,k,n or prompt,p"),
        ("prompt,p\n", "names no prompt"),
        ("", "cannot be read as CSV"),
    ],
)
def test_a_file_that_is_no_list_of_rates_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "rates.csv").write_text(text)
    with pytest.raises(UserError, match=told):
        pass_rates.read(tmp_path / "rates.csv")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffprompt,k,n\r\nNA,3,8\r\n\r\n1,2,8\r\n01,1,8\r\n",
        '"prompt","k","n","level","level"\n"what, is 2?", 3 ,8,x,y\nnull,2.0,"8",x,y\nNone,1,8,x,y\n',
    ],
)
def test_what_a_spreadsheet_writes_is_read_as_it_was_meant(tmp_path: Path, text: str) -> None:
    """A byte order mark, quotes, blank lines, names that look like missing values or like equal numbers."""
    (tmp_path / "rates.csv").write_text(text, encoding="utf-8", newline="")
    assert pass_rates.read(tmp_path / "rates.csv").counts.tolist() == [[1, 8], [2, 8], [3, 8]]


def test_sizes_that_do_not_fit_the_budget_are_refused() -> None:
    with pytest.raises(UserError, match="a group of 64 is not from 2 to 32 answers"):
        pass_rates.by_group_size(known(0.5), 32, [2, 64])


def test_it_is_a_subcommand_and_bad_words_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "rates.csv").write_text("prompt,p\na,.2\nb,.7\n")
    run = partial(subprocess.run, cwd=tmp_path, text=True, capture_output=True)
    good = run([sys.executable, "-m", "ablate", "groups", "--rates", "rates.csv"])
    assert good.returncode == 0, good.stderr
    assert "dead groups" in good.stdout
    bad = run([sys.executable, "-m", "ablate", "groups", "--rate"])
    assert bad.returncode == 2
    assert bad.stderr.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize("right", [[0, 0, 0], [8, 8, 8], [0, 8, 0]])
def test_prompts_that_were_never_both_right_and_wrong_bound_no_noise(right: list[int]) -> None:
    found = pass_rates.observed(right, [8, 8, 8])
    table = pass_rates.by_group_size(found, 64, [2, 8])
    assert (table["nsr_low"] == 0).all()
    assert np.isinf(table[["nsr", "nsr_high"]].to_numpy()).all()
    assert "no group size is better than another" in pass_rates.paragraph(found, table, 64)


def test_spaces_in_the_head_of_a_file_do_not_matter_and_a_budget_makes_a_group(tmp_path: Path) -> None:
    path = tmp_path / "rates.csv"
    path.write_text("prompt, k, n\na, 3, 8\n")
    assert pass_rates.read(path).counts.tolist() == [[3, 8]]
    with pytest.raises(UserError, match="--budget 1 makes no group"):
        pass_rates.by_group_size(known(0.5), 1, [2])
