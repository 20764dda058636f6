"""Declarations of terms, and terms that differ from their declaration."""

import numpy as np
import pytest
import tensorflow as tf

import mvae_tf
from mvae_tf.models import VAE, Term, registry
from mvae_tf.parts.terms import check_terms, checked_weights

X = np.full((4, 4, 4, 1), 0.5, "float32")
SMALL = {"input_shape": (4, 4, 1), "latent_dim": 2, "network": {"name": "mlp"}}
PER_BATCH = Term(per="batch")
LOGGED = Term(weight=None)


@pytest.mark.parametrize("batch", [4, None])
@pytest.mark.parametrize(
    ("term", "value", "message"),
    [
        (Term(), None, "declared terms .'added', 'kl'., got .'kl'"),
        (None, tf.ones(4), "declared terms .'kl'., got .'added', 'kl'"),
        (Term(), 1.0, r"'added' per example, a tensor of shape \[B\], got \[\]"),
        (Term(), tf.ones([4, 1]), r"of shape \[B\], got \[4, 1\]"),
        (Term(), tf.ones(1), r"of shape \[B\], got \[1\]"),
        (PER_BATCH, tf.ones(4), r"per batch, a tensor of shape \[\], got \[4\]"),
        (LOGGED, tf.ones([4, 2]), r"of shape \[B\], got \[4, 2\]"),
        (LOGGED, 1.0, r"per example, a tensor of shape \[B\], got \[\]"),
    ],
)
def test_terms_that_differ_from_their_declaration_are_refused(
    term, value, message, batch
):
    declared = {"kl": Term()} | ({} if term is None else {"added": term})

    @tf.function(input_signature=[tf.TensorSpec([batch, 4, 4, 1])], autograph=False)
    def check(x):
        values = {"kl": tf.reduce_sum(x, [1, 2, 3])}
        check_terms(values | ({} if value is None else {"added": value}), declared, x)

    with pytest.raises(ValueError, match=message) as caught:
        check(X)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"loss": Term()}, "^Expected a name of a term in .*, got 'loss'"),
        ({"val_kl": Term()}, "^Expected a name of a term in .*, got 'val_kl'"),
        ({"a/b": Term()}, "^Expected a name of a term in .*, got 'a/b'"),
        ({3: Term()}, "^Expected a name of a term in .*, got 3"),
        ({"kl": 1.0}, "^Expected a Term per example or per batch for 'kl', got 1.0"),
        ({"kl": Term(per="batches")}, "^Expected a Term per .*'batches'"),
        ({"kl": Term("1")}, "^Expected a finite weight of kl, got '1'"),
        ({"kl": Term(np.inf)}, "^Expected a finite weight of kl, got inf"),
        ({"kl": Term(-0.5)}, "^Expected a weight of kl that is 0 or more, got -0.5"),
    ],
)
def test_wrong_declarations_are_refused(terms, message):
    with pytest.raises(ValueError, match=message) as caught:
        checked_weights(terms)
    assert "\n" not in str(caught.value)


WEIGHTS = [
    ("vae", "kl_weight"),
    ("beta_vae", "beta"),
    ("wwae", "w2_weight"),
    ("mae", "eta"),
    ("mae", "gamma"),
    ("mvae", "kl_weight"),
    ("mvae", "dirichlet_weight"),
    ("mvae", "independence_weight"),
    ("m_vae", "kl_weight"),
    ("cgm", "mmd_weight"),
    ("cgm", "prototype_weight"),
]


@pytest.mark.parametrize(("model", "argument"), WEIGHTS)
def test_a_negative_weight_is_refused(model, argument):
    with pytest.raises(ValueError, match="^Expected a weight of .* or more, got -1.0"):
        mvae_tf.create(model, input_shape=(4, 4, 1), **{argument: -1.0})


def test_every_weight_of_a_model_is_among_these():
    named = {
        (name, key)
        for name in mvae_tf.names()
        for key in registry.arguments(registry.get(name))
        if key.endswith("_weight")
    }
    assert {name for name in named if name[0] not in ("info_vae", "m_vae")} <= {
        *WEIGHTS
    }


def test_a_term_that_is_only_logged_may_be_nan(monkeypatch):
    monkeypatch.setattr(registry, "_CLASSES", dict(registry._CLASSES))

    @mvae_tf.models.register("nan_vae")
    class NaNVAE(VAE):
        def __init__(self, **kwargs):
            super().__init__(terms={"logged": LOGGED}, **kwargs)

        def loss_terms(self, x, y, noise, training):
            terms = super().loss_terms(x, y, noise, training)
            return terms | {"logged": terms["kl"] * np.nan}

    model = NaNVAE(**SMALL)
    model.compile(run_eagerly=True)
    logs = model.fit(X, verbose=0).history
    assert np.isnan(logs["logged"][0])
    assert np.isfinite(logs["loss"][0])
    assert logs["skipped_steps"] == [0]
