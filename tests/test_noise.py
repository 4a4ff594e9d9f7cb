"""Noise statistics: identities, exact expectations by enumeration, leave-one-out by hand, coverage by simulation."""

from itertools import permutations, product

import numpy as np
import pytest
from noise_oracle import SCALES, TARGET, naive, three_variants
from scipy import stats

from ablate.statistics import bias, noise, pareto_tail, resampling
from ablate.statistics.block_sums import Accumulator, blocks_of, gradients_of_gram
from ablate.statistics.noise import paired_log_ratio, snr, trace_variance, unpaired_log_ratio


@pytest.fixture
def g():
    return three_variants()


ARGUMENTS = {
    "trace_variance": (),
    "squared_signal": (),
    "bias_squared": (TARGET,),
    "snr": (),
    "nsr": (),
    "mean_squared_error": (TARGET, 7),
    "directional_variance": (TARGET,),
}


MODULE = dict.fromkeys(("bias_squared", "mean_squared_error", "cosine"), bias)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_measures_as_they_are_written_down(g, name):
    value = getattr(MODULE.get(name, noise), name)(blocks_of(g), *ARGUMENTS[name]).value
    np.testing.assert_allclose(value, [naive(name, g[:, k]) for k in range(3)], rtol=1e-11)


@pytest.mark.parametrize("name", ["trace_variance", "squared_signal", "bias_squared", "snr"])
@pytest.mark.parametrize("places", [16, 20])
def test_left_out_values_are_recomputed_without_the_block(g, name, places):
    """The jackknife's closed forms: with 20 places one trajectory a block, with 16 blocks of two."""
    accumulator = Accumulator(places)
    accumulator.add(g)
    blocks = accumulator.blocks()
    size = {20: 1, 16: 2}[places]
    assert (blocks.counts == size).all()
    T, T_left_out = resampling.trace_variance(blocks)
    target = TARGET if name == "bias_squared" else np.zeros(5)
    _, U, U_left_out = noise.distance(blocks, target)
    value = {"trace_variance": T, "snr": U / T}.get(name, U)
    left_out = {"trace_variance": T_left_out, "snr": U_left_out / T_left_out}.get(name, U_left_out)
    np.testing.assert_allclose(value, [naive(name, g[:, k]) for k in range(3)], rtol=1e-11)
    for b in range(len(blocks.counts)):
        rest = np.delete(g, slice(b * size, (b + 1) * size), axis=0)
        np.testing.assert_allclose(left_out[b], [naive(name, rest[:, k]) for k in range(3)], rtol=1e-9)


def test_blocks_of_a_seed_are_those_of_its_gradients_alone():
    g = np.random.default_rng(17).normal(size=(40, 3, 2, 5))
    together = blocks_of(g)
    for s in range(3):
        alone = blocks_of(g[:, s])
        for name in ("counts", "mean", "sums", "centre", "scatter", "lengths"):
            np.testing.assert_array_equal(getattr(together.of(s), name), getattr(alone, name))
        np.testing.assert_array_equal(trace_variance(together.of(s)), np.array(trace_variance(together))[:, s])


@pytest.mark.parametrize("count", [11, 21])
def test_sums_over_unequal_blocks_as_they_are_written_down(count):
    """tr C^2 from pairs of blocks and v'Cv between blocks: 11 of one trajectory; 10 of two and 1 of one."""
    x, v = np.random.default_rng(24).normal(size=(count, 3)), np.array([0.6, 0.0, -0.8])
    accumulator = Accumulator(16)
    accumulator.add(x)
    blocks = accumulator.blocks()
    parts = np.array_split(x - x.mean(0), range(2, 21, 2)) if count == 21 else np.split(x - x.mean(0), 11)
    n, D = [len(part) for part in parts], [part.sum(0) for part in parts]
    assert list(blocks.counts) == n
    pairs = [(D[b] @ D[c]) ** 2 / (n[b] * n[c]) for b, c in permutations(range(11), 2)]
    assert resampling.trace_of_square(blocks) == pytest.approx(np.mean(pairs), rel=1e-10)
    between = sum((D[b] @ v) ** 2 / n[b] for b in range(11)) / 10
    assert noise.directional_variance(blocks, v).value == pytest.approx(between, rel=1e-10)


def test_jackknife_error_of_a_mean_is_the_textbook_one():
    x = np.random.default_rng(1).normal(size=30)
    left_out = (x.sum() - x) / 29
    error, degrees = resampling.jackknife(x.mean(), left_out, np.ones(30))
    assert error == pytest.approx(x.std(ddof=1) / np.sqrt(30), rel=1e-12)
    squares = (x - x.mean()) ** 2
    assert degrees == pytest.approx(squares.sum() ** 2 / (squares**2).sum() - 1, rel=1e-10)


def test_jackknife_with_a_shorter_last_block_has_the_right_error_on_average():
    """Mean of 22 normals in 7 blocks of 3 and 1 of 1: E se^2 = 1/22; 20,000 draws, |z| < 4.5."""
    rng = np.random.default_rng(2)
    x, counts = rng.normal(size=(22, 20_000)), np.array([3.0] * 7 + [1.0])
    sums = np.add.reduceat(x, np.arange(0, 22, 3), axis=0)
    left_out = (x.sum(0) - sums) / (22 - counts)[:, None]
    squares = resampling.jackknife(x.mean(0), left_out, counts)[0] ** 2
    assert abs(squares.mean() - 1 / 22) < 4.5 * squares.std() / np.sqrt(20_000)


def test_expectations_are_exact():
    """All 3^8 samples of 8 gradients from 3 atoms: E T = tr C, E U = |mu|^2, E bias^2 = |mu - g*|^2, and so on."""
    atoms, chances = np.array([[1.0, 0.0], [-0.5, 2.0], [0.3, 0.4]]), np.array([0.5, 0.2, 0.3])
    samples = np.array(list(product(range(3), repeat=8)))
    weights = chances[samples].prod(1)
    blocks = blocks_of(np.moveaxis(atoms[samples], 1, 0))  # every sample is a "variant"
    mu = chances @ atoms
    C = (chances[:, None] * (atoms - mu)).T @ (atoms - mu)
    target = np.array([0.2, 0.1])

    def expected(interval):
        return weights @ interval.value

    assert expected(trace_variance(blocks)) == pytest.approx(np.trace(C), rel=1e-12)
    assert expected(noise.squared_signal(blocks)) == pytest.approx(mu @ mu, rel=1e-12)
    assert expected(bias.bias_squared(blocks, target)) == pytest.approx((mu - target) @ (mu - target), rel=1e-12)
    error = (mu - target) @ (mu - target) + np.trace(C) / 5
    assert expected(bias.mean_squared_error(blocks, target, 5)) == pytest.approx(error, rel=1e-12)
    v = np.array([0.6, -0.8])
    assert expected(noise.directional_variance(blocks, 10 * v)) == pytest.approx(v @ C @ v, rel=1e-12)


def test_effective_rank_is_a_ratio_of_u_statistics():
    """tr C^2 = E <g_1 - g_2, g_3 - g_4>^2 / 4 and (tr C)^2 = E |g_1 - g_2|^2 |g_3 - g_4|^2 / 4, averaged over all
    quadruples of different trajectories."""
    x = np.random.default_rng(3).normal(size=(8, 3)) * np.array([2.0, 1.0, 0.3])
    below = above = 0.0
    for i, j, k, m in permutations(range(8), 4):
        u, v = x[i] - x[j], x[k] - x[m]
        below += (u @ v) ** 2
        above += (u @ u) * (v @ v)
    assert noise.effective_rank(blocks_of(x)) == pytest.approx(above / below, rel=1e-10)


@pytest.mark.parametrize("count", [512, 3000])
def test_effective_rank_of_known_covariances(count):
    """(sum l)^2 / sum l^2 for eigenvalues l: 4 equal ones give 4, one alone 1. Within 10%, about 4 sd; 512 trajectories
    are blocks of one, 3,000 of eight."""
    scales = np.array([[1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0], SCALES])
    accumulator = Accumulator()
    accumulator.add(5 + scales * np.random.default_rng(4).normal(size=(count, 3, 6)))
    expected = (scales**2).sum(1) ** 2 / (scales**4).sum(1)
    np.testing.assert_allclose(noise.effective_rank(accumulator.blocks()), expected, rtol=0.1)


def test_cosines_as_they_are_written_down(g):
    u = g.reshape(10, 2, 3, 5).mean(1)
    u /= np.linalg.norm(u, axis=-1, keepdims=True)
    cosines = u @ TARGET / np.linalg.norm(TARGET)
    found = bias.cosine(blocks_of(g), TARGET, batches=10)
    np.testing.assert_allclose(found.value, cosines.mean(0), rtol=1e-12)
    squares = np.square(cosines - cosines.mean(0))
    degrees = squares.sum(0) ** 2 / (squares**2).sum(0) - 1
    half = stats.t.ppf(0.975, degrees) * cosines.std(0, ddof=1) / np.sqrt(10)
    np.testing.assert_allclose(found.high - found.value, half, rtol=1e-10)
    found = noise.pairwise_cosine(blocks_of(g), batches=10)
    pairs = [np.mean([a @ b for a, b in permutations(u[:, k], 2)]) for k in range(3)]
    np.testing.assert_allclose(found.value, pairs, rtol=1e-11)


def test_batch_mean_of_zero_has_no_direction():
    x = np.concatenate([np.zeros((8, 2)), np.tile([1.0, 0.0], (24, 1))])
    assert bias.cosine(blocks_of(x), np.array([1.0, 0.0]), batches=8).value == 0.75
    assert noise.pairwise_cosine(blocks_of(x), batches=8).value == pytest.approx(15 / 28, rel=1e-12)  # 15 of 28 pairs
    with pytest.raises(ValueError, match="batches"):
        noise.pairwise_cosine(blocks_of(x), batches=2)


def quantiles_of_t(statistic, x, copies):
    """The 25th and the 975th of 999 studentised values of samples of len(x) / copies, drawn with replacement."""
    value, _, _ = statistic(x)
    t = []
    for shares in resampling.resamples(len(x) // copies, copies):
        drawn = statistic(np.repeat(x, np.round(shares * len(x) / copies).astype(int), axis=0))
        t.append((drawn[0] - value) / drawn[1])
    return np.sort(t)[24], np.sort(t)[974]


def bootstrap_t(statistic, x, both):
    """Limits of statistic(x) = (value, se, what carries it), the upper one, or `both`, with a tail in the resamples."""
    value, se, degrees = statistic(x)
    copies = resampling.ATOMS // len(x)
    least, most = quantiles_of_t(statistic, np.stack([pareto_tail.spread(column, copies) for column in x.T], 1), copies)
    plain, heavy = stats.t.ppf(0.975, [len(x) - 1, degrees]) / stats.norm.ppf(0.975)
    low = value - heavy * se * most if both else value - plain * se * quantiles_of_t(statistic, x, 1)[1]
    return low, value - heavy * se * least


def log_mean_ratio(c):
    """log of the mean of c[:, 0] over that of c[:, 1]; its error by the delta method; what carries it."""
    u = c[:, 0] / c[:, 0].mean() - c[:, 1] / c[:, 1].mean()
    degrees = (u**2).sum() ** 2 / (u**4).sum() - 1
    return np.log(c[:, 0].mean() / c[:, 1].mean()), np.sqrt((u**2).mean() / len(u)), degrees


def test_logarithms_have_bootstrap_t_limits():
    """tr C, v'Cv and the log ratio of two variants from samples that are drawn one by one."""
    x = np.random.default_rng(29).normal(size=(40, 2, 3)) * np.array([1.0, 2.0])[:, None]
    x[:, 1] += x[:, 0] ** 2
    blocks, v = blocks_of(x), np.array([0.6, 0.0, -0.8])
    c = np.square(x - x.mean(0)).sum(-1)
    along = np.square((x - x.mean(0)) @ v)
    ones, grown = np.ones(40), np.log(40 / 39)
    T, directional, paired = trace_variance(blocks), noise.directional_variance(blocks, v), paired_log_ratio(blocks, 0)
    for k in range(2):
        low, high = bootstrap_t(log_mean_ratio, np.stack([c[:, k], ones], 1), both=False)
        np.testing.assert_allclose(np.log([T.low[k], T.high[k]]), [low + grown, high + grown], rtol=1e-9)
        low, high = bootstrap_t(log_mean_ratio, np.stack([along[:, k], ones], 1), both=False)
        found = np.log([directional.low[k], directional.high[k]])
        np.testing.assert_allclose(found, [low + grown, high + grown], rtol=1e-9)
    low, high = bootstrap_t(log_mean_ratio, c[:, ::-1], both=True)
    np.testing.assert_allclose([paired.low[1], paired.high[1]], [low, high], rtol=1e-9)
    assert paired.value[0] == paired.low[0] == paired.high[0] == 0


@pytest.mark.parametrize("shape", [-0.3, 0.4, 1.2])
def test_a_tail_is_fitted_with_its_shape_and_scale(shape):
    """Quantiles of a generalised Pareto distribution of scale 2: within 0.05 and 5% of what the prior makes of it."""
    beyond = 1 - (np.arange(2000) + 0.5) / 2000
    k, scale = pareto_tail.pareto(2 * (beyond**-shape - 1) / shape)
    assert k == pytest.approx((2000 * shape + 5) / 2010, abs=0.05)
    assert scale == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(("number", "copies"), [(10, 3), (64, 2), (400, 1)])
def test_the_largest_are_spread_over_their_tail_and_the_others_kept(number, copies):
    """In any order; the tail keeps the order of the largest, and scales with the sample."""
    x = np.random.default_rng(30).lognormal(size=number)
    atoms = pareto_tail.spread(x, copies).reshape(number, copies)
    largest = max(3, int(min(number / 5, 3 * np.sqrt(number))))
    order = np.argsort(x)
    np.testing.assert_array_equal(atoms[order[:-largest]], np.repeat(x[order[:-largest], None], copies, 1))
    tail = atoms[order[-largest:]].ravel()
    assert (np.diff(tail) > 0).all()
    assert tail[0] > x[order[-largest - 1]]
    np.testing.assert_allclose(pareto_tail.spread(7 * x, copies), 7 * atoms.ravel(), rtol=1e-9)


@pytest.mark.parametrize("x", [np.ones(20), np.zeros(20), np.repeat([0.0, 1.0], [12, 8]), np.full(20, np.nan)])
def test_where_the_largest_are_alike_there_is_no_tail(x):
    np.testing.assert_array_equal(pareto_tail.spread(x, 3), np.repeat(x, 3))


def test_upper_limits_hold_though_the_heavy_episodes_did_not_come():
    """Lognormal sums of squares of deviation 1.75, which has 1 in 21 episodes informative: of 1,000 samples
    of 64, 96% and more hold it; resamples without a tail 94%. Seven in ten have limits."""
    rng = np.random.default_rng(31)
    found = resampling.log_mean(rng.lognormal(sigma=1.75, size=(64, 1000)), np.ones((64, 1)))
    truth = 1.75**2 / 2
    assert np.mean((found.low <= truth) & (truth <= found.high)) > 0.96
    assert np.isfinite(found.high).mean() > 0.7


def test_an_unpaired_ratio_has_the_errors_of_both(g):
    blocks = blocks_of(np.concatenate([g, 2 * g[::-1]]))
    T, found = trace_variance(blocks), unpaired_log_ratio(blocks, reference=1)
    value, low, high = (np.log(x) for x in T)
    np.testing.assert_allclose(found.value, value - value[1], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found.low, value - value[1] - np.hypot(value - low, high[1] - value[1]), rtol=1e-9)
    np.testing.assert_allclose(found.high, value - value[1] + np.hypot(high - value, value[1] - low[1]), rtol=1e-9)


def test_pairing_loses_where_variants_vary_in_opposite_ways():
    """X is large exactly where Y is small: the difference of their logs is noisier than of independent ones."""
    rng = np.random.default_rng(5)
    size = rng.random((400, 1))
    z = rng.normal(size=(2, 400, 3))
    blocks = blocks_of(np.stack([z[0] * size, z[1] * (1 - size)], 1))
    paired, unpaired = paired_log_ratio(blocks, reference=0), unpaired_log_ratio(blocks, reference=0)
    assert paired.high[1] - paired.low[1] > unpaired.high[1] - unpaired.low[1]


@pytest.mark.parametrize("count", [20, 100, 1000])
def test_chunks_do_not_change_a_bit(count):
    x = np.random.default_rng(6).normal(size=(count, 2, 7)).astype(np.float32)
    whole, single, ragged = (Accumulator(16) for _ in range(3))
    whole.add(x)
    for row in x:
        single.add(row[None])
    for start in range(0, count, 13):
        ragged.add(x[start : start + 13])
    ragged.add(x[:0])
    for other in (single, ragged):
        for name in ("counts", "mean", "sums", "scatter", "lengths"):
            np.testing.assert_array_equal(getattr(whole.blocks(), name), getattr(other.blocks(), name))


@pytest.mark.parametrize("parameters", [1, 2, 37])
def test_a_variant_alone_has_the_same_bits(parameters):
    x = np.random.default_rng(7).normal(size=(300, 5, 3, parameters))
    target = np.linspace(0.1, 1, parameters)

    def everything(x):
        accumulator = Accumulator(64)
        accumulator.add(x)
        blocks = accumulator.blocks()
        found = [getattr(MODULE.get(name, noise), name)(blocks, *arguments) for name, arguments in both.items()]
        return [part for interval in found for part in interval] + [noise.effective_rank(blocks)]

    both = {name: (target,) if arguments else () for name, arguments in ARGUMENTS.items()}
    both |= {"mean_squared_error": (target, 7), "cosine": (target, 8), "pairwise_cosine": (8,)}
    together = everything(x)
    for s, k in product(range(5), range(3)):
        alone = everything(np.moveaxis(np.ascontiguousarray(np.moveaxis(x[:, s, k], -1, 0)), 0, -1))  # another layout
        for some, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(some[s, k], one)


@pytest.mark.parametrize("count", [513, 1000, 5000])
def test_many_trajectories_keep_their_point_estimates_in_bounded_memory(count):
    x = np.random.default_rng(8).normal(size=(count, 2, 3)) + 1
    accumulator = Accumulator(64)
    accumulator.add(x)
    blocks = accumulator.blocks()
    assert blocks.count == count
    assert 32 < len(blocks.counts) <= 64
    assert np.shape(blocks.sums)[1:] == (2, 3)
    np.testing.assert_allclose(blocks.mean, x.mean(0), rtol=1e-12)
    for name in ("trace_variance", "squared_signal", "bias_squared", "snr", "mean_squared_error"):
        arguments = {"bias_squared": (np.ones(3),), "mean_squared_error": (np.ones(3), 10)}.get(name, ())
        exact, found = (getattr(MODULE.get(name, noise), name)(b, *arguments).value for b in (blocks_of(x), blocks))
        np.testing.assert_allclose(found, exact, rtol=1e-9, err_msg=name)


def test_a_gram_matrix_holds_all_of_it(g):
    """With g* as one more row: every measure from inner products alone."""
    x = g[:, 0]
    rows = np.concatenate([x, TARGET[None]])
    rebuilt = gradients_of_gram(rows @ rows.T)
    blocks, target = blocks_of(rebuilt[:-1]), rebuilt[-1]
    assert trace_variance(blocks).value == pytest.approx(naive("trace_variance", x), rel=1e-10)
    assert bias.bias_squared(blocks, target).value == pytest.approx(naive("bias_squared", x), rel=1e-10)
    assert noise.directional_variance(blocks, target).value == pytest.approx(naive("directional_variance", x), rel=1e-8)
    for found, exact in zip(trace_variance(blocks), trace_variance(blocks_of(x)), strict=True):
        assert found == pytest.approx(exact, rel=1e-10)


def test_gram_matrices_of_several_variants(g):
    gram = np.einsum("ikp,jkp->kij", g, g)
    found = trace_variance(blocks_of(gradients_of_gram(gram))).value
    np.testing.assert_allclose(found, [naive("trace_variance", g[:, k]) for k in range(3)], rtol=1e-10)


def test_no_cancellation_under_a_large_mean():
    """Integers on top of 10^8: the variance is that of the integers."""
    x = np.random.default_rng(9).integers(-5, 6, (50, 4)).astype(np.float64)
    plain, lifted = trace_variance(blocks_of(x)), trace_variance(blocks_of(x + 1e8))
    for one, other in zip(plain, lifted, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


def test_equal_gradients_have_no_noise_and_no_bound():
    blocks = blocks_of(np.tile([0.1, 0.3], (30, 1)))
    assert trace_variance(blocks) == (0, 0, np.inf)
    assert snr(blocks).value == np.inf
    assert noise.nsr(blocks) == (0, 0, np.inf)
    assert np.isnan(noise.effective_rank(blocks))


def test_one_trajectory_with_all_the_noise_sets_no_bound():
    x = np.zeros((300, 3))
    x[17] = [0.1, 0.2, 0.3]
    T = trace_variance(blocks_of(x))
    assert T.value == pytest.approx(0.14 / 300, rel=1e-12)
    assert (T.low, T.high) == (0, np.inf)


def test_noise_without_signal_is_an_unbounded_nsr():
    x = np.random.default_rng(10).normal(size=(256, 20))
    ratio = noise.nsr(blocks_of(x - x.mean(0)))  # |m|^2 = 0, U < 0
    assert ratio.value == ratio.high == np.inf
    assert ratio.low > 0
    strong = noise.nsr(blocks_of(x + 3))
    assert 0 < strong.low < strong.value < strong.high < np.inf


def test_too_few_trajectories_and_odd_places_are_refused():
    with pytest.raises(ValueError, match="at least 8"):
        blocks_of(np.ones((7, 2)))
    with pytest.raises(ValueError, match="even"):
        Accumulator(17)
