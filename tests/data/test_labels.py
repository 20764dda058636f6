"""Labels in data sets are checked as those in arrays are."""

import numpy as np
import pytest
import tensorflow as tf

import mvae_tf

X = np.random.default_rng(0).uniform(size=(8, 4, 4, 1)).astype("float32")
GOOD = np.arange(8) % 3
BAD = {
    "counted from 1": GOOD + 1,
    "fractions": GOOD + 0.5,
    "too large for int32": np.full(8, 2**40),
    "NaN": np.full(8, np.nan),
    "negative": GOOD - 1,
    "text": GOOD.astype(str),
    "rows of 7": np.full((8, 3), 7.0),
    "rows of two ones": np.ones((8, 3), np.float32),
}


@pytest.fixture(scope="module")
def model():
    model = mvae_tf.create(
        "mvae",
        input_shape=(4, 4, 1),
        latent_dim=2,
        num_components=2,
        num_classes=3,
        network={"name": "mlp", "hidden": 4},
    )
    model.compile(optimizer=mvae_tf.optimizers.FusedAdam(1e-3))
    return model


def batches(y):
    return tf.data.Dataset.from_tensor_slices((X, y)).batch(4)


# One model for all, whose compiled functions meet labels of every form in turn.
@pytest.mark.parametrize("name", BAD)
def test_bad_labels_are_named(model, name):
    for call in (
        lambda: model.fit(X, BAD[name], verbose=0),
        lambda: model.fit(batches(BAD[name]), verbose=0),
        lambda: model.evaluate(batches(BAD[name]), verbose=0),
        lambda: model.fit(batches(GOOD), validation_data=batches(BAD[name]), verbose=0),
    ):
        with pytest.raises(ValueError, match="^Expected .*labels"):
            call()


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.uint8])
def test_labels_of_any_usual_form_mean_the_same(model, dtype):
    losses = [
        model.evaluate(batches(y.astype(dtype)), verbose=0, return_dict=True)["loss"]
        for y in (GOOD, GOOD[:, np.newaxis], np.eye(3)[GOOD])
    ]
    assert losses == [losses[0]] * 3
