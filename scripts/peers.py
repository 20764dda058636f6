"""The same VAEs in pythae, plain PyTorch, plain Keras and this library, in one run.

The group `evaluation` of the benchmark compares their estimates of log p(x).
"""

import importlib.util

import numpy as np

from mvae_tf.models import VAE, InfoVAE, VampVAE

__all__ = ["missing", "peers"]


def missing():
    """Return what the peers lack here, as one line; empty if all is installed."""
    names = [n for n in ("torch", "pythae") if not importlib.util.find_spec(n)]
    if not names:
        return ""
    return f"peers need {' and '.join(names)}: pip install torch pythae"


def _arithmetic(batch_size, latent_dim, rows_encoded):
    """Count the operations of a VAE step: 3 times those of its forward products."""
    encoder = 784 * 500 + 500 * 500 + 500 * 2 * latent_dim
    decoder = latent_dim * 500 + 500 * 500 + 500 * 784
    return 3 * 2 * (rows_encoded * encoder + batch_size * decoder)


def peers(benchmark, mlp, keras_vae):
    """Measure and print the table.

    Args:
        benchmark: `Benchmark`, which trains and measures.
        mlp: arguments of the models of this library.
        keras_vae: the VAE in plain Keras as a contender.
    """
    if missing():
        print(f"\n{missing()}")
        return
    import pythae_vae
    from naive_mvae import adam

    options, latent_dim = benchmark.options, mlp["latent_dim"]
    steps, batch_size = options.steps, benchmark.batch_size
    pseudo_inputs = pythae_vae.PSEUDO_INPUTS
    models = {
        "VAE": VAE(**mlp),
        "VampPrior": VampVAE(num_pseudo_inputs=pseudo_inputs, **mlp),
        "InfoVAE": InfoVAE(**mlp),
    }
    torch_peak = pythae_vae.peak_rate()
    for kind, model in models.items():
        contenders = {
            "mvae_tf": benchmark.train(model, benchmark.fused_adam()),
            "pythae": pythae_vae.PythaeVAE(latent_dim, batch_size, steps, kind),
        }
        if kind == "VAE":
            contenders["mvae_tf, Keras' Adam"] = benchmark.train(VAE(**mlp), adam())
            contenders["plain Keras"] = keras_vae
            contenders |= _plain_torch(pythae_vae, benchmark.digits, latent_dim)
        blocks = benchmark.measure(f"Peers: {kind}", contenders, steps)
        rows = batch_size + pseudo_inputs * (kind == "VampPrior")
        work = _arithmetic(batch_size, latent_dim, rows)
        torch_peak = max(torch_peak, pythae_vae.peak_rate())
        for name, values in blocks.items():
            is_torch = "pythae" in name or "PyTorch" in name
            peak = torch_peak if is_torch else benchmark.peak
            low, middle, high = np.quantile(1e3 * values[:, 0], [0.25, 0.5, 0.75])
            share = work / (1e-3 * middle) / peak
            ratios = blocks["mvae_tf"][:, 0] / values[:, 0]
            least, median, most = np.quantile(ratios, [0.25, 0.5, 0.75])
            print(
                f"{name:<24}{middle:>7.1f} [{low:.1f} {high:.1f}] ms"
                f"{share:>6.2f} of its peak; mvae_tf to it "
                f"{median:.2f} [{least:.2f} {most:.2f}]"
            )
    print(f"Best float32 matrix product of PyTorch: {torch_peak / 1e9:.0f} GF/s")


def _plain_torch(pythae_vae, batches, latent_dim):
    """Time loops of plain PyTorch, the compiled one where it compiles."""
    loops = {"plain PyTorch": pythae_vae.PlainTorch(latent_dim, batches)}
    compiled = pythae_vae.PlainTorch(latent_dim, batches, compiled=True)
    try:
        compiled.run(1)
    except Exception as error:
        # Whatever a compiler may lack on this machine, the others are measured.
        print(f"torch.compile does not work here: {type(error).__name__}")
        return loops
    return loops | {"compiled PyTorch": compiled}
