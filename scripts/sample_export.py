"""Generates images from an exported model, with TensorFlow alone.

Usage: python scripts/sample_export.py EXPORT_BASE --to FILE.png
"""

import argparse
from pathlib import Path

import tensorflow as tf


def main():
    """Draw rows x rows images and write them as one PNG file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base", type=Path, help="folder with a sub-folder per version")
    parser.add_argument("--to", type=Path, required=True, help="PNG file to write")
    parser.add_argument(
        "--rows", type=int, default=8, help="images per side of the sheet (default 8)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--zoom",
        type=int,
        default=4,
        help="times that images are enlarged (default 4)",
    )
    arguments = parser.parse_args()

    version = newest_version(arguments.base)
    model = tf.saved_model.load(str(version))
    rows = arguments.rows
    index = tf.range(rows * rows)
    seeds = tf.stack([index, tf.fill([rows * rows], arguments.seed)], axis=1)
    images = model.signatures["generate"](seed=seeds)["images"]
    tf.io.write_file(
        str(arguments.to), tf.io.encode_png(as_sheet(images, rows, arguments.zoom))
    )
    print(f"{rows * rows} images from {version} -> {arguments.to}")


def newest_version(base):
    """Find the folder of the highest version number in `base`."""
    versions = [p for p in base.glob("*") if p.name.isdigit()]
    if not versions:
        raise SystemExit(f"error: no version folder (a number) in {base}")
    return max(versions, key=lambda path: int(path.name))


def as_sheet(images, rows, zoom):
    """Make a square uint8 sheet of images `[rows * rows, H, W, C]` in [0, 1]."""
    images = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=0.4)
    _, height, width, channels = images.shape
    sheet = tf.reshape(images, [rows, rows, height, width, channels])
    sheet = tf.transpose(sheet, [0, 2, 1, 3, 4])
    sheet = tf.reshape(sheet, [rows * height, rows * width, channels])
    sheet = tf.repeat(tf.repeat(sheet, zoom, axis=0), zoom, axis=1)
    return tf.image.convert_image_dtype(sheet, tf.uint8, saturate=True)


if __name__ == "__main__":
    main()
