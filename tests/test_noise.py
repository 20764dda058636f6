"""Stateless noise: what each draw does and does not depend on."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mvae_tf import noise
from mvae_tf.parts import mixing


def normal(seed, rows):
    return tf.random.stateless_normal(tf.shape(rows), seed)


def gamma(seed, rows):
    return mixing._log_gamma_sample(seed, rows)


ROWS = tf.constant(np.random.default_rng(0).uniform(0.05, 2.0, (7, 3)), tf.float32)


@pytest.mark.parametrize("sampler", [normal, gamma])
@pytest.mark.parametrize(("offset", "size"), [(0, 7), (0, 3), (3, 4), (6, 1), (7, 0)])
def test_a_replica_draws_its_rows_of_the_whole_batch(sampler, offset, size):
    seed = noise.step_seed(1, tf.constant(5, tf.int64))
    whole = noise.BatchNoise(seed).sample("z", sampler, ROWS)
    shard = noise.BatchNoise(seed, (offset, 7))
    drawn = shard.sample("z", sampler, ROWS[offset : offset + size])
    np.testing.assert_array_equal(drawn, whole[offset : offset + size])


@pytest.mark.parametrize("sampler", [normal, gamma])
def test_draws_are_the_same_eagerly_in_a_graph_and_beside_a_gradient(sampler):
    seed = noise.step_seed(1, tf.constant(5, tf.int64))

    def draw(rows):
        return noise.BatchNoise(seed).sample("z", sampler, rows)

    @tf.function
    def with_gradient(rows):
        with tf.GradientTape() as tape:
            tape.watch(rows)
            drawn = draw(rows)
        return drawn, tape.gradient(drawn, rows, unconnected_gradients="zero")

    eager = draw(ROWS)
    graph = tf.function(draw)(ROWS)
    np.testing.assert_allclose(graph, eager, rtol=1e-5)
    np.testing.assert_allclose(with_gradient(ROWS)[0], eager, rtol=1e-5)


def test_step_seed_depends_on_seed_and_step():
    seeds = {
        tuple(noise.step_seed(seed, tf.constant(step, tf.int64)).numpy())
        for seed in (0, 1, 2**31 - 1)
        for step in (0, 1, 2**33)
    }
    assert len(seeds) == 9


def test_names_separate_the_draws_of_a_step():
    for draw in (
        noise.BatchNoise(noise.step_seed(0, tf.constant(0, tf.int64))),
        noise.RowNoise(noise.index_seeds(7, 0)),
    ):
        first = draw.sample("z", normal, ROWS)
        with pytest.raises(ValueError, match="^Expected a name .* got 'z' twice"):
            draw.sample("z", normal, ROWS)
        own = draw.child("prior")
        apart = own.sample("z", normal, ROWS)
        assert np.all(np.abs(first - apart) > 0)
        with pytest.raises(ValueError, match="^Expected a name .* got 'prior/z' twice"):
            draw.child("prior").sample("z", normal, ROWS)
        correlation = np.corrcoef(
            np.ravel(first), np.ravel(draw.sample("mask", normal, ROWS))
        )
        assert abs(correlation[0, 1]) < 0.9


@pytest.mark.parametrize("loop", ["while", "map"])
def test_a_loop_of_tensorflow_cannot_draw(loop):
    def draw(made):
        return made.uniform("u", tf.zeros(4))

    def passes(draw):
        if loop == "map":
            return tf.map_fn(lambda _: draw(), tf.zeros(3))
        start = (0, tf.zeros(4))
        return tf.while_loop(
            lambda i, _: i < 3, lambda i, u: (i + 1, u + draw()), start
        )

    @tf.function(autograph=False)
    def outside():
        made = noise.BatchNoise(noise.step_seed(0, tf.constant(0, tf.int64)))
        return passes(lambda: draw(made))

    @tf.function(autograph=False)
    def within():
        return passes(lambda: draw(noise.RowNoise(noise.index_seeds(4, 0))))

    with pytest.raises(ValueError, match="^Expected 'u' to be drawn outside of loops"):
        outside()
    within()


@tf.function(reduce_retracing=True)
def row_gammas(seeds, rows):
    return noise.RowNoise(seeds).sample("weights", gamma, rows)


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(7)), st.integers(1, 7), st.integers(0, 2**31 - 1))
def test_a_row_has_its_own_noise(order, num, seed):
    x = tf.random.stateless_uniform([7, 2, 2, 1], [0, 1])
    whole = row_gammas(noise.content_seeds(x, seed), ROWS)
    rows = order[:num]
    seeds = noise.content_seeds(tf.gather(x, rows), seed)
    drawn = row_gammas(seeds, tf.gather(ROWS, rows))
    np.testing.assert_array_equal(drawn, tf.gather(whole, rows))


def test_content_seeds_tell_rows_and_seeds_apart():
    x = np.zeros((6, 3, 1, 1), "float32")
    x[1, 0], x[2, 1], x[3, 2], x[4, 0], x[5] = 0.5, 0.5, 0.5, 0.5 + 2**-24, 0.5
    seeds = np.concatenate([noise.content_seeds(x, seed) for seed in (0, 1, 7)])
    assert len({tuple(row) for row in seeds}) == 18
    np.testing.assert_array_equal(
        noise.content_seeds(x, tf.constant([0, 0, 0, 7, 7, 7]))[3:], seeds[15:]
    )
    np.testing.assert_array_equal(
        noise.content_seeds(x[[1, 1]], 3)[0], noise.content_seeds(x[1:2], 3)[0]
    )


def test_index_seeds_are_a_prefix_of_more_of_them():
    np.testing.assert_array_equal(noise.index_seeds(3, 5), noise.index_seeds(9, 5)[:3])


def test_grouped_draws_share_a_seed_and_differ_within_it():
    seeds = noise.index_seeds(2, 0)
    rows = tf.zeros([8, 3])
    drawn = noise.RowNoise(seeds, draws=4).sample("z", normal, rows).numpy()
    assert drawn.shape == (8, 3)
    assert len(np.unique(drawn)) == 24
    first = noise.RowNoise(seeds[:1], draws=4).sample("z", normal, rows[:4])
    np.testing.assert_array_equal(drawn[:4], first)


def test_row_noise_is_standard_normal_over_rows():
    @tf.function
    def draw(rows):
        return noise.RowNoise(noise.index_seeds(4000, 3)).sample("z", normal, rows)

    drawn = draw(tf.zeros([4000, 2])).numpy()
    assert np.all(np.abs(drawn.mean(axis=0)) < 4 / np.sqrt(4000))
    assert np.all(np.abs(np.square(drawn).mean(axis=0) - 1) < 4 * np.sqrt(2 / 4000))
    correlation = np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]
    assert abs(correlation) < 4 / np.sqrt(4000)


@pytest.mark.parametrize("seed", [-1, 2**31, 0.5, "1", None])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=r"^Expected a seed in 0..2147483647, got .*$"):
        noise.check_seed(seed)
