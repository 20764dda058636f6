"""Runs that stop early: the rule, the weights they keep, and kills."""

import dataclasses

import killed_runs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mvae_tf
from mvae_tf.config import Training
from mvae_tf.runs import training

# A decoder that is learnt by heart fits its validation images worse and worse.
CONFIG = dataclasses.replace(
    killed_runs.CONFIG,
    training=Training(
        epochs=40, batch_size=50, learning_rate=0.1, warmup_epochs=3, patience=2
    ),
)


def history(losses):
    return [
        {"epoch": i + 1, "loss": 1.0, "val_loss": loss} for i, loss in enumerate(losses)
    ]


def by_counting(losses, warmup, patience):
    """The loop of the VampPrior experiments, epoch by epoch."""
    best, best_epoch, counter = np.inf, 0, 0
    for epoch, loss in enumerate(losses, start=1):
        if loss < best:
            best, best_epoch, counter = loss, epoch, 0
        else:
            counter += 1
            if epoch < warmup:
                counter = 0
        if counter > patience:
            return best_epoch, epoch
    return best_epoch, None


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=12),
    st.integers(0, 6),
    st.integers(1, 4),
)
def test_rule_is_that_of_a_counter(losses, warmup, patience):
    settings = Training(warmup_epochs=warmup, patience=patience)
    best, stopped_at = by_counting(losses, warmup, patience)
    for epoch in range(1, (stopped_at or len(losses)) + 1):
        found = training.early_stopping(history(losses[:epoch]), settings)
        assert found[1] == (epoch == stopped_at)
    assert found[0] == best


def test_a_loss_that_is_not_a_number_is_never_the_best():
    nan = float("nan")
    settings = Training(patience=2)
    found = [
        training.early_stopping(history(losses), settings)
        for losses in ([nan], [nan, 2.0, 3.0], [nan, nan, nan, nan], [1.0, nan, 0.5])
    ]
    assert found == [(0, False), (2, False), (0, True), (3, False)]


@pytest.mark.parametrize(
    ("loss", "diverged"),
    [
        (float("nan"), True),
        (float("inf"), True),
        (7e24, True),
        (-7e24, True),
        (3.9e6, False),
        (-3.0, False),
    ],
)
def test_a_run_that_diverged_stops(loss, diverged):
    rows = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": loss}]
    message = training.divergence(rows, (2, 2, 1))
    assert bool(message) == diverged
    assert training.early_stopping(rows, Training(), (2, 2, 1)) == (0, diverged)
    assert not diverged or message.startswith("the run diverged in epoch 2: its loss")


def test_without_patience_nothing_stops():
    assert training.early_stopping(history([1.0, 2.0, 3.0]), Training()) == (0, False)


def end_of(folder):
    losses = [row["val_loss"] for row in training.read_history(folder)]
    return losses, mvae_tf.load(folder).get_weights()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    process = killed_runs.start(folder, CONFIG)
    process.join()
    assert process.exitcode == 0
    return folder


def test_run_stops_and_keeps_its_best_weights(stopped):
    losses, _ = end_of(stopped)
    best = int(np.argmin(losses)) + 1
    assert len(losses) == max(best, 2) + 3 < CONFIG.training.epochs
    model = mvae_tf.load(stopped)
    assert int(model.step.numpy()) == best * 2
    splits = training.load_data(CONFIG)
    model.compile()
    again = model.evaluate(splits.validation, verbose=0, return_dict=True)
    assert again["loss"] == pytest.approx(min(losses), rel=1e-4)


def test_run_killed_at_its_best_epoch_ends_the_same(stopped, tmp_path):
    folder = tmp_path / "run"
    # Renames: config, then best, checkpoint (after the checksums) and history.
    for kill_at in (4, 5, 12):
        process = killed_runs.start(folder, CONFIG, kill_at)
        process.join()
        assert process.exitcode != 0
    process = killed_runs.start(folder, CONFIG)
    process.join()
    assert process.exitcode == 0
    losses, weights = end_of(folder)
    expected_losses, expected = end_of(stopped)
    assert losses == expected_losses
    for value, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(value, other)


def test_finished_run_is_not_trained_again(stopped, capsys):
    before = training.read_history(stopped)
    model = training.train(training.read_config(stopped), stopped, resume=True)
    assert "is finished" in capsys.readouterr().out
    assert training.read_history(stopped) == before
    for value, other in zip(
        model.get_weights(), mvae_tf.load(stopped).get_weights(), strict=True
    ):
        np.testing.assert_array_equal(value, other)


def test_patience_needs_validation_images(tmp_path):
    path = tmp_path / "data.npz"
    x = np.zeros((20, 4, 4), np.uint8)
    np.savez(path, x_train=x, x_test=x)
    data = {"source": f"npz:{path}", "validation_size": 0}
    config = dataclasses.replace(CONFIG, data=data)
    with pytest.raises(ValueError, match="validation part for training.patience"):
        training.train(config, tmp_path / "run", verbose=0)
