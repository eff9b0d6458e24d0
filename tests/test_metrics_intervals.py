"""The jackknife's intervals hold the expected value as often as they say, and a bootstrap's do not.

Coverage is simulated: 200 intervals from independent draws, beside the mean of 1,000 other draws. Of 200, 95 % is
within 3 % at two standard errors; above it the intervals are wider than they need be, which a Fréchet distance of
two sets of one distribution has them be: most of what moves it is quadratic in the rows, and that counts twice.
"""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from vidrd_model.metrics import Estimate, frechet_distance, inception_score, jackknife

Draw = Callable[[np.random.Generator], tuple[np.ndarray, ...]]
INTERVALS, TRUTHS = 200, 1000


def coverage(statistic: Callable[..., float], draw: Draw) -> float:
    """The share of intervals that hold the statistic's expected value at this n."""
    rng = np.random.default_rng(7)
    expected = np.mean([statistic(*draw(rng)) for _ in range(TRUTHS)])
    estimates = [jackknife(statistic, *draw(rng)) for _ in range(INTERVALS)]
    return float(np.mean([estimate.low <= expected <= estimate.high for estimate in estimates]))


def two_sets(n: int, m: int, d: int, shift: float = 0.5, scale: float = 1.5) -> Draw:
    return lambda rng: (rng.normal(size=(n, d)), rng.normal(shift, scale, size=(m, d)))


def two_models(n: int, m: int, d: int) -> Draw:
    """Two sets whose rows belong together, and a reference of other rows."""

    def draw(rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        a = rng.normal(size=(n, d))
        return a, 1.2 * a + rng.normal(0, 0.3, size=(n, d)), rng.normal(size=(m, d))

    return draw


def class_probabilities(n: int, k: int) -> Draw:
    def draw(rng: np.random.Generator) -> tuple[np.ndarray]:
        odds = np.exp(rng.normal(0, 2, size=(n, k)))
        return (odds / odds.sum(axis=1, keepdims=True),)

    return draw


def difference(a_nd: np.ndarray, b_nd: np.ndarray, reference_nd: np.ndarray) -> float:
    return frechet_distance(a_nd, reference_nd) - frechet_distance(b_nd, reference_nd)


def score(*splits_nk: np.ndarray) -> float:
    return float(np.mean([inception_score(part, splits=1, shuffle_seed=None)[0] for part in splits_nk]))


@pytest.mark.parametrize(
    ("statistic", "draw"),
    [
        pytest.param(np.mean, lambda rng: (rng.normal(size=37),), id="mean"),
        pytest.param(np.mean, lambda rng: (rng.exponential(size=200),), id="skewed-mean"),
        pytest.param(frechet_distance, two_sets(64, 64, 8), id="frechet-n>d"),
        pytest.param(frechet_distance, two_sets(90, 47, 8), id="frechet-unlike-n"),
        pytest.param(frechet_distance, two_sets(64, 64, 8, 0, 1), id="frechet-of-one-distribution"),
        pytest.param(frechet_distance, two_sets(24, 24, 32), id="frechet-n<d"),
        pytest.param(frechet_distance, two_sets(24, 24, 32, 0, 1), id="frechet-of-one-distribution-n<d"),
        pytest.param(difference, two_models(64, 64, 8), id="difference-n>d"),
        pytest.param(difference, two_models(24, 24, 32), id="difference-n<d"),
        pytest.param(difference, two_models(24, 60, 32), id="difference-larger-reference"),
        pytest.param(score, class_probabilities(60, 10), id="inception-score"),
    ],
)
def test_intervals_hold_the_expected_value(statistic: Callable[..., float], draw: Draw) -> None:
    assert coverage(statistic, draw) >= 0.90


def test_splits_of_an_inception_score_are_row_sets() -> None:
    draw = class_probabilities(60, 10)
    assert coverage(score, lambda rng: tuple(np.array_split(draw(rng)[0], 3))) >= 0.90


def test_heavy_tails_cost_coverage() -> None:
    """What the intervals cannot see is a tail that their rows have not shown: known, and no worse than this."""
    share = coverage(
        frechet_distance, lambda rng: (rng.standard_t(4, (64, 8)), 1.5 * rng.standard_t(4, (64, 8)))
    )
    assert 0.85 <= share < 0.97


def test_a_percentile_bootstrap_misses_its_own_estimate() -> None:
    """Why this is no bootstrap: rows drawn with replacement repeat, and repeated rows lie further from the others."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(50, 32)), rng.normal(size=(50, 32))
    value = frechet_distance(x, y)
    resampled = [frechet_distance(x[rng.integers(0, 50, 50)], y[rng.integers(0, 50, 50)]) for _ in range(200)]
    assert np.percentile(resampled, 2.5) > value
    estimate = jackknife(frechet_distance, x, y)
    assert estimate.low < value < estimate.high


def test_the_mean_has_its_textbook_interval() -> None:
    rows = np.random.default_rng(0).normal(3, 2, size=20)
    error = rows.std(ddof=1) / np.sqrt(20)
    reach = stats.t.ppf(0.95, 19) * error
    assert jackknife(np.mean, rows, level=0.9) == Estimate(
        *(pytest.approx(v) for v in (rows.mean(), rows.mean() - reach, rows.mean() + reach, error)), 20
    )


def test_groups_are_twenty_or_what_leaves_the_least_of_any_set() -> None:
    rng = np.random.default_rng(0)

    def apart(*sets: np.ndarray) -> float:
        return float(sets[0].mean() - sets[-1].mean())

    assert jackknife(apart, rng.standard_normal(100)).groups == 20
    assert jackknife(apart, rng.standard_normal(42)).groups == 14  # of 20 at most, not 21
    # By 20 nothing is left of 40 rows, but 19 of 39; by 19 two and one.
    assert jackknife(apart, rng.standard_normal(40), rng.standard_normal(39)).groups == 19


def test_rows_that_belong_together_are_left_out_together() -> None:
    """The difference of a set and itself plus a constant is certain, that of two sets is not."""
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=100), rng.normal(size=100)
    means = lambda x, y: float(x.mean() - y.mean())  # noqa: E731
    assert jackknife(means, a, a + 1).standard_error == pytest.approx(0, abs=1e-12)
    apart = jackknife(means, a, b).standard_error
    assert apart == pytest.approx(np.sqrt(a.var(ddof=1) / 100 + b.var(ddof=1) / 100), rel=0.35)


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [((2048,), 16), ((2000,), 20), ((7,), 7), ((2, 50), 2), ((48, 48), 16), ((24, 36), 18)],
)
def test_groups_are_of_one_size(sizes: tuple[int, ...], groups: int) -> None:
    left = []

    def statistic(*row_sets: np.ndarray) -> float:
        left.append([len(rows) for rows in row_sets])
        return 0.0

    assert jackknife(statistic, *(np.arange(size) for size in sizes)).groups == groups
    assert left[0] == list(sizes) and len(left) == groups + 1
    assert left[1:] == [[size - size // groups for size in sizes]] * groups


@pytest.mark.parametrize(
    ("row_sets", "options", "match"),
    [
        ((), {}, "two rows"),
        ((np.zeros(1),), {}, "two rows"),
        ((np.zeros(9), np.zeros(0)), {}, "two rows"),
        ((np.zeros(9),), {"groups": 1}, "two groups"),
        ((np.zeros(9),), {"level": 1.0}, "level"),
        ((np.append(np.zeros(8), np.nan),), {}, "not finite"),
    ],
)
def test_refuses_what_has_no_interval(row_sets: tuple, options: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        jackknife(lambda *sets: float(sum(rows.mean() for rows in sets)), *row_sets, **options)


def test_a_statistic_that_fails_without_one_group_is_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        jackknife(lambda x: 1 / x.sum() if x.any() else float("inf"), np.eye(1, 30)[0])
