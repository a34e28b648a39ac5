"""A still of a map's surface as the page first shows it: for print, and where a browser cannot draw in 3D."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from stacycle.report.surface_figures import surface_image

# The view that the page begins with (surface.js): turned about the vertical axis, then towards the reader.
VIEW = Rotation.from_euler("yx", [35, -20], degrees=True)
REACH = 0.37  # of the box's diagonal is half of the picture: the corners of the box hold nothing

Array = NDArray[Any]


def shaded(values: Array, level: float) -> NDArray[np.uint8]:
    """A map (z, y, x) cut at a level, seen as VIEW says: an image (n, n, 4) with a clear background."""
    side = int(np.ceil(2 * REACH * np.linalg.norm(values.shape)))
    turn = VIEW.inv().as_matrix()[::-1, ::-1]  # of axes (z, y, x)
    offset = (np.array(values.shape) - 1) / 2 - turn @ np.full(3, (side - 1) / 2)
    below = float(min(values.min(), level - 1))
    seen = ndimage.affine_transform(
        values.astype(np.float32), turn, offset, output_shape=(side,) * 3, order=1, cval=below
    )
    image = surface_image(seen, level)[::-1]
    clear = (image == 1).all(axis=-1)
    return np.rint(np.dstack([image, ~clear]) * 255).astype(np.uint8)


def png(image: NDArray[np.uint8]) -> str:
    """An image (n, m, 4) as a small PNG in base64."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    picture = Pillow.fromarray(image, "RGBA").quantize(64, method=Pillow.Quantize.FASTOCTREE)
    picture.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
