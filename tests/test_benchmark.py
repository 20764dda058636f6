import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from mvae_tf.models import VAE

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("benchmark")


def size(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.parametrize("k", [1, 6])
def test_naive_and_stacked_have_the_published_size(benchmark, k):
    naive = benchmark.naive_mvae.NaiveMVAE(
        benchmark.naive_mvae.mlp_networks(k, 50), latent_dim=50
    )
    stacked = benchmark.MVAE(num_components=k, **benchmark.MLP)
    assert size(naive) == size(stacked) == {1: 1362386, 6: 4957891}[k]


def test_naive_and_stacked_convolutions_are_of_one_size(benchmark):
    naive = benchmark.naive_mvae.NaiveMVAE(
        benchmark.naive_mvae.conv_networks(2, 256), 256, "sse"
    )
    stacked = benchmark.MVAE(num_components=2, **benchmark.CONV)
    # Two encoders and sub-decoders, the mix-decoder, and the mask's one number.
    published = 2 * (4176769 + 4211200) + 2369283 + 1
    assert size(naive) == size(stacked) == published


def test_plain_and_library_vae_are_of_one_size(benchmark):
    plain = benchmark.naive_mvae.PlainVAE(50)
    assert size(plain) == size(VAE(**benchmark.MLP))


def test_arithmetic_is_three_times_the_products(benchmark):
    # Every weight of a dense layer takes part in one product for each image.
    model = benchmark.MVAE(num_components=4, **benchmark.MLP)
    kernels = [v for v in model.trainable_variables if v.name == "kernel"]
    products = sum(int(np.prod(v.shape)) for v in kernels)
    assert benchmark.mlp_arithmetic(4, 128) == 3 * 2 * 128 * products
    assert benchmark.conv_arithmetic(6, 64) == pytest.approx(414e9, rel=0.01)


def test_parts_are_taken_out_of_methods_that_exist(benchmark):
    for name in ("WithoutNormal", "WithoutGuard", "WithoutLogs"):
        changed = [
            key
            for key, value in vars(getattr(benchmark, name)).items()
            if callable(value)
        ]
        assert changed
        assert all(hasattr(benchmark.MVAE, key) for key in changed)


def test_ratios_are_taken_round_by_round(benchmark):
    blocks = {
        "a": np.array([[1.0, 2.0], [10.0, 2.0], [100.0, 2.0]]),
        "b": np.array([[2.0, 2.0], [20.0, 2.0], [200.0, 2.0]]),
    }
    assert benchmark.ratio(blocks, "a", "b") == "0.50 [0.50 0.50]"


@pytest.mark.extra
def test_quick_run_prints_its_table(benchmark, tmp_path, capsys):
    path = tmp_path / "found.json"
    benchmark.main(["--quick", "--models", "mlp", "--json", str(path)])
    printed = capsys.readouterr().out
    assert "From K=1 to K=6: arithmetic x 3.64" in printed
    blocks = json.loads(path.read_text())["seconds_and_cores"]["MVAE, MLP"]
    assert list(blocks) == ["naive K=1", "stacked K=1", "naive K=6", "stacked K=6"]
    for name, values in blocks.items():
        assert f"\n{name}" in printed
        assert np.shape(values) == (5, 2)
        assert np.min(values) > 0


def test_fixed_cost_counts_branches_and_relates_to_the_autoencoder(benchmark, capsys):
    fixed_cost = benchmark.fixed_cost

    def function():
        return tf.cond(tf.constant(1.0) > 0.5, lambda: 1.0, lambda: 2.0)

    counted, computing = fixed_cost.operations(tf.function(function, autograph=False))
    graph = tf.function(function, autograph=False).get_concrete_function().graph
    assert counted > len(graph.get_operations())
    # Of the condition: its two constants do not compute, and each branch has one more.
    assert 0 < computing <= counted - 4
    blocks = {
        fixed_cost.AUTOENCODER: np.array([[0.001, 2.0], [0.002, 1.0]]),
        "vae": np.array([[0.002, 2.0], [0.004, 1.0]]),
    }
    numbers = {fixed_cost.AUTOENCODER: (12, 8), "vae": (34, 20)}
    fixed_cost.print_steps(blocks, numbers)
    row = capsys.readouterr().out.splitlines()[2]
    assert row.split()[:5] == ["vae", "34", "20", "3.00", "4.00"]
    assert row.endswith("2.00 [2.00 2.00]  2.00 [2.00 2.00]")


def test_starts_are_timed_in_processes_of_their_own(benchmark):
    process = benchmark.fixed_cost.Process("total = sum(range(10**5))", "total = 0")
    seconds, cores = process.run(1)
    assert 0 < seconds < 60
    assert cores > 0


def test_gpu_check_without_a_gpu_says_so(benchmark, monkeypatch, capsys):
    gpu_check = importlib.import_module("gpu_check")
    monkeypatch.setattr(gpu_check.tf.config, "list_physical_devices", lambda kind: [])
    assert gpu_check.main([]) == 1
    assert "finds no GPU" in capsys.readouterr().err


@pytest.mark.extra
def test_gpu_check_prints_its_tables(benchmark, capsys):
    gpu_check = importlib.import_module("gpu_check")
    assert gpu_check.main(["--device", "CPU:0", "--quick"]) == 0
    printed = capsys.readouterr().out
    for name in gpu_check.CHECKED:
        assert f"| `{name}` | 0.0e+00 | 0.0e+00 |" in printed
    assert "| naive K=2 |" in printed
    assert "images/s; the fastest step" in printed


def test_input_pipelines_are_related_to_the_step(benchmark, capsys):
    found = {"npz, 28x28x1": [(1000.0, 0.5)], "CelebA, 218x178 to 64x64": [(50.0, 0.1)]}
    benchmark.input_pipelines.print_table(found)
    rows = capsys.readouterr().out.splitlines()[1:3]
    # 2,000 images per second of one core, 30 million operations each, on two cores.
    assert rows[0].split()[-3:] == ["0.5", "2000", "0.1"]
    assert rows[1].split()[-3:] == ["0.1", "500", "10.1"]


@pytest.mark.extra
def test_quick_run_of_the_input_pipelines(benchmark, capsys):
    benchmark.main(["--quick", "--models", "input"])
    printed = capsys.readouterr().out
    for name in ("npz, 28x28x1", "folder, JPEG 64x64", "CelebA (TFDS)", "ImageNet"):
        assert f"\n{name}" in printed


def test_evaluation_is_compared_with_all_products_of_a_decoder(benchmark):
    speed = benchmark.evaluation_speed
    vae = VAE(**benchmark.MLP)
    kernels = speed.kernels(vae.sub_decoder, vae.mix_decoder)
    assert [tuple(k.shape) for k in kernels] == [(50, 500), (500, 500), (500, 784)]
    rows = speed.product_chain([tf.constant([[2.0], [3.0]]), tf.constant([[4.0]])], 7)
    assert rows().shape == (7, 1)


@pytest.mark.extra
def test_quick_run_of_evaluation(benchmark, capsys):
    benchmark.main(["--quick", "--models", "evaluation"])
    printed = capsys.readouterr().out
    for name, *_ in benchmark.evaluation_speed.TABLE:
        assert f"\n{name}" in printed


def test_roofline_counts_every_product_of_the_step(benchmark):
    model = benchmark.MVAE(num_components=2, **benchmark.MLP)
    model.compile(benchmark.FusedAdam(1e-3))
    images = np.zeros((4, 784), np.float32)
    found = benchmark.roofline.parts(model, images)
    assert found["products"].arithmetic == benchmark.mlp_arithmetic(2, 4)
    assert list(found)[-1] == "step"
    before = model.mix_decoder.layers_in_order[0].kernel.numpy()
    assert np.all(np.isfinite(found["norm of the gradients"].function()))
    seconds, cores = benchmark.roofline.Repeated(found["Adam"].function).run(1)
    assert seconds > 0
    assert cores > 0
    assert np.any(model.mix_decoder.layers_in_order[0].kernel.numpy() != before)


def test_peers_that_are_not_installed_are_named(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark.peers.importlib.util, "find_spec", lambda name: None)
    expected = "peers need torch and pythae: pip install torch pythae"
    assert benchmark.peers.missing() == expected
