"""Measures how many images per second each kind of data source delivers.

The images are random photographs, which are stored as real data sets are: arrays in an
.npz file, JPEG files in a folder, and data sets prepared by TensorFlow Datasets.
`python scripts/benchmark.py --models input` prints the table.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from mvae_tf import data
from mvae_tf.data import examples

__all__ = ["STEPS", "measure", "print_table"]

# Number of cores that read for the device in the last column of the table.
CORES = 2
# Floating point operations per image of a training step of an MVAE with 6 components,
# by the size of the images: MLPs, and the convolutional networks for 32 and 64 pixels.
STEPS = {"28x28": 30e6, "32x32": 6.5e9, "64x64": 10.1e9}


def photographs(num: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Draw smooth random images with some noise, uint8 `[num, H, W, channels]`."""
    random = np.random.default_rng(0)
    smooth = random.integers(0, 256, (num, 9, 9, channels)).astype(np.float32)
    smooth = tf.image.resize(smooth, (height, width)).numpy()
    noisy = smooth + random.normal(0.0, 6.0, smooth.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def write_folder(folder: Path, images: np.ndarray) -> str:
    """Write JPEG files, and return the source that reads them."""
    folder.mkdir()
    for i, image in enumerate(images):
        content = tf.io.encode_jpeg(image, quality=90)
        (folder / f"{i:06}.jpg").write_bytes(content.numpy())
    return f"folder:{folder}"


def write_tfds(folder: Path, name: str, images: np.ndarray, **version: str) -> None:
    """Write a data set of JPEG images as TensorFlow Datasets prepares it."""
    os.environ["NO_GCE_CHECK"] = "true"
    import tensorflow_datasets as tfds

    image = tfds.features.Image(shape=images.shape[1:], encoding_format="jpeg")
    arrays = {"image": images, "label": np.arange(len(images)) % 1000}
    whole = tf.data.Dataset.from_tensor_slices(arrays)
    few = tf.data.Dataset.from_tensor_slices({k: v[:64] for k, v in arrays.items()})
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        data_dir=folder,
        features=tfds.features.FeaturesDict(
            {"image": image, "label": tfds.features.ClassLabel(num_classes=1000)}
        ),
        split_datasets={"train": whole, "validation": few, "test": few},
        **version,
    )


def sources(folder: Path, num: int) -> dict[str, dict]:
    """Write every data set, and return the arguments of `load` by description."""
    grey, small = photographs(num, 28, 28, 1), photographs(num, 32, 32)
    middle, large = photographs(num, 64, 64), photographs(num // 4, 218, 178)
    for name, images in (("grey", grey), ("small", small)):
        np.savez(folder / f"{name}.npz", x_train=images, x_test=images[:64])
    celeb_a = {"image_size": 64, "crop_size": 128}
    write_tfds(folder, "celeb_a", large, version="2.1.0")
    write_tfds(folder, "imagenet_resized", middle, version="0.1.0", config="64x64")
    return {
        "npz, 28x28x1": {"source": f"npz:{folder / 'grey.npz'}"},
        "npz, 28x28x1, binarised anew": {
            "source": f"npz:{folder / 'grey.npz'}",
            "binarize": "dynamic",
        },
        "npz, 32x32x3": {"source": f"npz:{folder / 'small.npz'}"},
        "folder, JPEG 64x64": {"source": write_folder(folder / "64", middle)},
        "folder, JPEG 218x178 to 64x64": {
            "source": write_folder(folder / "218", large),
            **celeb_a,
        },
        "CelebA (TFDS), 218x178 to 64x64": {"source": "celeb_a", "data_dir": folder},
        "ImageNet (TFDS), 64x64": {"source": "imagenet64", "data_dir": folder},
    }


def measure(rounds: int, num: int = 8000) -> dict[str, list[tuple[float, float]]]:
    """Run one epoch of every source in turn, `rounds` times.

    Args:
        rounds: Number of timed epochs of each source.
        num: Number of images of the data sets of small images.

    Returns:
        Dict from the name of a source to `(images per second, processor cores used)` of
        each round. A name that ends in "decoded each epoch" is of images that are not
        kept in memory.
    """
    results: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        loaded = {}
        kept = examples.CACHE_BYTES
        for title, arguments in sources(Path(name), num).items():
            loaded[title] = data.load(**arguments).train
            if not title.startswith("npz"):
                examples.CACHE_BYTES = 0
                loaded[f"{title}, decoded each epoch"] = data.load(**arguments).train
                examples.CACHE_BYTES = kept
        for dataset in loaded.values():
            _epoch(dataset)
        for _ in range(rounds):
            for title, dataset in loaded.items():
                results.setdefault(title, []).append(_epoch(dataset))
    return results


def _epoch(dataset: tf.data.Dataset) -> tuple[float, float]:
    start, processor = time.perf_counter(), time.process_time()
    found = sum(len(tf.nest.flatten(batch)[0]) for batch in dataset)
    seconds = time.perf_counter() - start
    return found / seconds, (time.process_time() - processor) / seconds


def print_table(results: dict[str, list[tuple[float, float]]]) -> None:
    """Print the median rates, and how fast a device may be before it has to wait.

    Args:
        results: What `measure` returns.
    """
    print(f"{'':<56}{'images/s':>10}{'cores':>7}{'per core':>10}{'Tflop/s':>9}")
    for title, values in results.items():
        rate, used = np.median(values, axis=0)
        step = next(step for size, step in STEPS.items() if size in title)
        fastest = CORES * rate / used * step / 1e12
        print(
            f"{title:<56}{rate:>10.0f}{used:>7.1f}{rate / used:>10.0f}{fastest:>9.1f}"
        )
    print(
        f"per core: images per second of processor time; Tflop/s: rate of a device for "
        f"which {CORES} cores are enough, training an MVAE with 6 components."
    )
