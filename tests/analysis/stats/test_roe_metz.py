"""The simulator has the model's moments, and the tests hold their level and power on it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.stats import analyze
from analysis.stats.components import COVARIANCES, components
from analysis.stats.obuchowski_rockette import analyse, variance_components
from analysis.stats.power import power
from analysis.stats.ratings import read_ratings
from analysis.stats.roe_metz import (
    SEPARATIONS,
    STRUCTURES,
    RoeMetz,
    _both_below,
    as_frame,
    as_ratings,
    p_values,
    split_plot,
)
from analysis.stats.ustatistics import analyse as analyse_by_ustatistics


@pytest.mark.parametrize("structure", STRUCTURES)
@pytest.mark.parametrize("mu", SEPARATIONS)
def test_the_table_has_unit_variance_over_cases_and_equal_reader_variances(structure: str, mu: float) -> None:
    model = RoeMetz.standard(structure, mu)
    assert model.case + model.treatment_case + model.reader_case + model.error == pytest.approx(1)
    assert model.reader == model.treatment_reader
    assert model.auc[0] == model.auc[1] == pytest.approx(stats.norm.cdf(mu / math.sqrt(2 + 4 * model.reader)))


def test_a_configuration_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no 'HX' with mu 1\.5"):
        RoeMetz.standard("HX", 1.5)


@pytest.mark.parametrize("h", [-1.2, 0.0, 0.4])
@pytest.mark.parametrize("k", [-0.3, 0.0, 2.0])
@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.3, 0.95])
def test_two_correlated_normals_are_both_below_with_the_textbook_probability(h: float, k: float, rho: float) -> None:
    expected = stats.multivariate_normal([0, 0], [[1, rho], [rho, 1]]).cdf([h, k])
    assert _both_below(h, k, rho) == pytest.approx(expected, abs=1e-9)


def test_the_ratings_have_the_variances_and_covariances_of_the_model() -> None:
    model = RoeMetz.standard("HL", 1.5)
    positives, negatives = model.simulate(readers=2, diseased=2, nondiseased=2, trials=40_000, seed=1)
    assert positives.shape == (40_000, 2, 2, 2)
    assert positives.mean() == pytest.approx(1.5, abs=0.02)
    assert negatives.mean() == pytest.approx(0, abs=0.02)

    def cov(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.mean((a - a.mean()) * (b - b.mean())))

    x = positives
    assert cov(x[:, 0, 0, 0], x[:, 0, 0, 0]) == pytest.approx(1 + 2 * 0.0055, abs=0.03)
    assert cov(x[:, 0, 0, 0], x[:, 1, 0, 0]) == pytest.approx(0.3 + 0.2 + 0.0055, abs=0.02)
    assert cov(x[:, 0, 0, 0], x[:, 0, 1, 0]) == pytest.approx(0.3 + 0.3, abs=0.02)
    assert cov(x[:, 0, 0, 0], x[:, 1, 1, 0]) == pytest.approx(0.3, abs=0.02)
    assert cov(x[:, 0, 0, 0], x[:, 0, 0, 1]) == pytest.approx(2 * 0.0055, abs=0.02)
    assert cov(x[:, 0, 0, 0], negatives[:, 0, 0, 0]) == pytest.approx(0, abs=0.02)


def test_the_same_seed_gives_the_same_ratings() -> None:
    model = RoeMetz.standard("LL", 2.5)
    first, again, other = (model.simulate(seed=seed)[0] for seed in (5, 5, 6))
    assert (first == again).all() and not (first == other).any()


def test_binned_ratings_are_whole_steps_in_the_order_of_the_continuous_ones() -> None:
    model = RoeMetz.standard("LH", 1.5)
    plain = np.concatenate(model.simulate(seed=3), axis=-1).ravel()
    steps = np.concatenate(model.simulate(seed=3, levels=5), axis=-1).ravel()
    assert set(steps) == {1, 2, 3, 4, 5}
    order = np.argsort(plain)
    assert (np.diff(steps[order]) >= 0).all()


def test_a_split_plot_keeps_each_readers_own_block() -> None:
    positives, negatives = RoeMetz.standard("HH", 0.75).simulate(readers=4, diseased=6, nondiseased=8)
    made = as_ratings(split_plot(positives, 2)[0], split_plot(negatives, 2)[0])
    assert len(made.missing) == made.scores.size / 2
    assert np.isnan(made.scores[0, 0]).tolist() == [k % 2 == 1 for k in range(6)] + [k % 2 == 1 for k in range(8)]
    found = analyse_by_ustatistics(made)
    assert not found.fully_crossed and found.means[0].estimate is not None


def test_the_frame_is_the_table_row_by_row() -> None:
    positives, negatives = RoeMetz.standard("HH", 0.75).simulate(readers=3, diseased=4, nondiseased=5)
    made = read_ratings(as_frame(split_plot(positives, 2)[0], split_plot(negatives, 2)[0]))
    direct = as_ratings(split_plot(positives, 2)[0], split_plot(negatives, 2)[0])
    np.testing.assert_array_equal(made.scores, direct.scores)
    assert (made.truth == direct.truth).all() and made.readers == direct.readers


def test_the_models_obuchowski_rockette_parameters_are_what_the_estimates_average_to() -> None:
    model = RoeMetz.standard("HH", 1.5).with_auc_difference(0.05)
    found = []
    for positives, negatives in zip(
        *model.simulate(readers=4, diseased=20, nondiseased=30, trials=1000, seed=2), strict=True
    ):
        high, low = positives.reshape(8, 20), negatives.reshape(8, 30)
        parts = components(high, low)
        v = variance_components(parts.auc.reshape(2, 4), COVARIANCES["unbiased"](parts, high, low))
        found.append((v.var, v.cov1, v.cov2, v.cov3, v.var_tr, *parts.auc.reshape(2, 4).mean(axis=1)))
    means, errors = np.mean(found, axis=0), np.std(found, axis=0) / math.sqrt(len(found))
    true = model.planning_components(20, 30)
    expected = np.array([true.var, true.cov1, true.cov2, true.cov3, true.var_tr, *model.auc])
    assert (np.abs(means - expected) < 4 * errors).all()
    assert true.cases == 50


@pytest.mark.parametrize("covariance", ["delong", "jackknife", "unbiased"])
@pytest.mark.parametrize("random", ["readers_cases", "cases", "readers"])
def test_many_studies_at_once_give_each_ones_own_p(covariance: str, random: str) -> None:
    positives, negatives = RoeMetz.standard("LH", 1.5).simulate(diseased=15, nondiseased=20, trials=8, seed=4)
    together = p_values(positives, negatives, covariance=covariance, random=random)
    for high, low, p in zip(positives, negatives, together, strict=True):
        high, low = high.reshape(10, 15), low.reshape(10, 20)
        parts = components(high, low)
        alone = analyse(parts.auc.reshape(2, 5), COVARIANCES[covariance](parts, high, low), random=random)
        assert p == pytest.approx(alone.omnibus.p, rel=1e-9)


def test_many_split_plot_studies_at_once_give_each_ones_own_p() -> None:
    positives, negatives = RoeMetz.standard("LH", 1.5).simulate(diseased=16, nondiseased=20, trials=4, seed=4)
    positives, negatives = split_plot(positives, 2), split_plot(negatives, 2)
    together = p_values(positives, negatives, covariance="ustat")
    alone = [
        analyse_by_ustatistics(as_ratings(x, y)).differences[0, 1].p for x, y in zip(positives, negatives, strict=True)
    ]
    assert together.tolist() == [1.0 if p is None else p for p in alone]


def test_the_test_of_no_difference_keeps_its_level_over_the_twelve_configurations() -> None:
    """A smaller benchmarks/type_one_error.py: 12 × 400 trials; the mean's standard error is .003."""
    rates = []
    for structure in STRUCTURES:
        for mu in SEPARATIONS:
            positives, negatives = RoeMetz.standard(structure, mu).simulate(trials=400, seed=11)
            rates.append(float((p_values(positives, negatives) < 0.05).mean()))
    assert 0.037 <= np.mean(rates) <= 0.058
    assert max(rates) <= 0.09


def test_a_difference_is_found_as_often_as_planned() -> None:
    model = RoeMetz.standard("HL", 1.5).with_auc_difference(0.06)
    planned = power(model.planning_components(50, 50), readers=5, cases=100, difference=0.06)
    positives, negatives = model.simulate(trials=1000, seed=12)
    found = float((p_values(positives, negatives) < 0.05).mean())
    assert found == pytest.approx(planned.power, abs=0.05)
    assert 0.3 < planned.power < 0.9


def test_one_simulated_study_goes_through_the_whole_analysis() -> None:
    positives, negatives = RoeMetz.standard("HL", 1.5).simulate(seed=1, levels=5)
    result = analyze(as_frame(positives[0], negatives[0]))
    assert result.comparisons[0].p == pytest.approx(p_values(positives, negatives)[0], rel=1e-9)
