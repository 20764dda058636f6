"""Tables of real numbers: from the file to a trained and exported model."""

import json

import numpy as np
import pytest

import mvae_tf
from mvae_tf import cli
from mvae_tf.parts import likelihoods

UNBOUNDED = {"name": "gaussian", "activation": "linear", "low": None, "high": None}


@pytest.mark.parametrize("name", ["gaussian", "sse", "half_sse"])
def test_a_likelihood_without_bounds_keeps_its_configuration(name):
    likelihood = likelihoods.get(UNBOUNDED | {"name": name})
    assert (likelihood.low, likelihood.high) == (-np.inf, np.inf)
    assert likelihood.shown_range == (-3.0, 3.0)
    config = json.loads(json.dumps(likelihood.get_config(), allow_nan=False))
    assert (config["low"], config["high"]) == (None, None)
    assert likelihoods.get(config).get_config() == config
    with pytest.raises(ValueError, match="Expected activation 'linear'"):
        likelihoods.get(UNBOUNDED | {"name": name, "activation": "sigmoid"})


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(0.0, None, (0.0, 6.0)), (None, 255.0, (-3.0, 255.0)), (9.0, None, (9.0, 15.0))],
)
def test_one_bound_is_enforced(low, high, shown):
    likelihood = UNBOUNDED | {"low": low, "high": high}
    model = mvae_tf.create("vae", (2,), latent_dim=1, likelihood=likelihood)
    assert model.likelihood.shown_range == shown
    inside = np.full((4, 2), 100.0, np.float32)
    assert model.reconstruct(inside).shape == (4, 2)
    with pytest.raises(ValueError, match="Expected pixels in"):
        model.reconstruct(-inside if high is None else 10 * inside)


def test_a_table_through_the_command_line(tmp_path, capsys):
    random = np.random.default_rng(0)
    table = random.normal(size=(120, 2)) @ random.normal(size=(2, 5))
    np.savez(tmp_path / "table.npz", x=(table - table.mean(0)) / table.std(0))
    run = str(tmp_path / "run")
    train = ["train", "--model", "vae", "--data", str(tmp_path / "table.npz")]
    train += ["--epochs", "1", "--output", run, "--set", "latent_dim=2"]
    train += ["--set", 'network={"name": "mlp", "hidden": 4}']

    assert cli.main(train) == 2
    assert "with --set data.value_range=null." in capsys.readouterr().err
    train += ["--set", "data.value_range=null"]
    assert cli.main(train) == 2
    assert "Expected data.value_range within [0.0, 1.0]" in capsys.readouterr().err
    train += ["--set", f"likelihood={json.dumps(UNBOUNDED)}"]
    assert cli.main(train) == 0
    assert cli.main(["evaluate", run]) == 0
    assert cli.main(["report", run]) == 0
    assert cli.main(["export", run, "--to", str(tmp_path / "served")]) == 0
    drawn = str(tmp_path / "drawn.npz")
    assert cli.main(["generate", run, "--num", "3", "--to", drawn]) == 0
    with np.load(drawn) as arrays:
        assert arrays["images"].shape == (3, 5)
