"""Folders of images, written and read."""

from __future__ import annotations

import numpy as np
from PIL import Image

import robustfw

RNG = np.random.default_rng(0)


def folder_of(tmp_path, images, name="image.png", **how):
    """A data folder with these images (arrays or Pillow's) as the test examples of two classes in turn."""
    for i, image in enumerate(images):
        for part in ("train", "test"):
            place = tmp_path / "images" / part / "ab"[i % 2]
            place.mkdir(parents=True, exist_ok=True)
            image = image if isinstance(image, Image.Image) else Image.fromarray(image)
            image.save(place / f"{i:03}-{name}", **how)
    return tmp_path


def load(root, size=8, **options):
    given = {"size": size, "workers": 0, "validation": 0, "augment": "none"} | options
    spec = ",".join(f"{key}={value}" for key, value in given.items())
    return robustfw.make("dataset", f"image-folder:{spec}").load(root)
