"""The record of a run, its summary, and the picture before | after | change."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Resampling

from ..paths import PACKAGE
from .errors import NothingObserved
from .grid import Grid, name_of, pixel_size_m
from .outputs import NOT_OBSERVED
from .radiometry import Array
from .scene import Scene, SceneReader, open_raster

if TYPE_CHECKING:
    from .detect import DetectOptions, Run, Tally

_PICTURE_PIXELS = 900
_CHANGE_COLOUR, _UNSEEN_COLOUR = (0.84, 0.0, 0.34), (0.93, 0.91, 0.86)


def version() -> str:
    """S2Change's version, from the plugin's metadata.txt."""
    for folder in (PACKAGE, PACKAGE.parent):
        metadata = folder / "metadata.txt"
        if metadata.is_file():
            for line in metadata.read_text(encoding="utf-8").splitlines():
                if line.startswith("version="):
                    return line.removeprefix("version=").strip()
    return "unknown"


def result_values(options: DetectOptions, run: Run, tally: Tally) -> dict[str, Any]:
    """The outputs and numbers of a run, as they go into the result event and the record."""
    grid = run.pair.grid.crop(run.area)
    paths = {name: getattr(options, name) for name in ("mask", "probability", "quality", "polygons", "record")}
    return {
        **{name: str(path.resolve()) if path else None for name, path in paths.items()},
        "changed_area_ha": round(tally.changed_m2 / 1e4, 4),
        "changed_pixels": tally.changed,
        "observed_share": round(tally.observed / tally.pixels, 6),
        "threshold": run.threshold,
        "model": run.model.card.name,
        "device": run.model.device,
        "precision": run.model.precision,
        "shift": asdict(run.pair.shift),
        "grid": {"crs": name_of(grid.crs), "transform": list(grid.transform)[:6], "height": grid.height, "width": grid.width},
    }


def summary_of(values: dict[str, Any]) -> str:
    """The result in two sentences."""
    return (
        f"Changed: {values['changed_area_ha']:,.2f} ha ({values['changed_pixels']:,} pixels), "
        f"with {100 * values['observed_share']:.1f} % of the area observed on both dates. Mask: {values['mask']}"
    )


def write_record(path: Path, options: DetectOptions, run: Run, values: dict[str, Any]) -> None:
    """Write everything needed to repeat and to judge a run, as JSON."""
    record = {
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "options": {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()},
        "inputs": {"before": _scene_record(run.pair.before), "after": _scene_record(run.pair.after)},
        "model": {"name": run.model.card.name, "sha256": run.model.card.sha256, "licence": run.model.card.licence},
        "result": values,
        "versions": _versions(),
    }
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_picture(before: Scene, after: Scene, mask: Path, target: Path) -> None:
    """Write a picture of three panels, before | after | change, that a person can look at.

    Both dates are shown in true colour with one stretch, so that what looks different is different.

    Raises:
        NothingObserved: neither date shows anything under the mask.
    """
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt
    from matplotlib.patches import Patch

    with open_raster(str(mask)) as raster:
        grid = _coarser(Grid(raster.crs, raster.transform, raster.height, raster.width))
        changed = raster.read(1, out_shape=grid.shape, resampling=Resampling.mode)
        tags = raster.tags()
    colours: list[str] = [name for name in ("B04", "B03", "B02") if name in before.bands and name in after.bands]
    colours = colours if len(colours) == 3 else [name for name in before.bands if name in after.bands][:3]
    first, second = (_true_colour(scene.select(colours), grid) for scene in (before, after))
    seen = np.concatenate([image[:, np.isfinite(image).all(0)] for image in (first, second)], axis=1)
    if not seen.size:
        raise NothingObserved(f"Neither {before.source} nor {after.source} shows anything under {mask}.")
    low, high = np.percentile(seen, (1, 98.5), axis=1)
    first, second = (_stretched(image, low, high) for image in (first, second))
    overlay = second.mean(2, keepdims=True).repeat(3, 2) * 0.55 + 0.15
    overlay[changed == 1] = _CHANGE_COLOUR
    overlay[changed == NOT_OBSERVED] = _UNSEEN_COLOUR

    tall, wide = pixel_size_m(grid)
    aspect = tall / wide
    size = 5.2
    figure, axes = plt.subplots(
        1, 3, figsize=(3 * size + 0.3, min(4 * size, size * aspect * grid.height / grid.width) + 0.9), layout="constrained"
    )
    for axis, image, title in zip(axes, (first, second, overlay), ("Before", "After", "Change"), strict=True):
        axis.imshow(image, aspect=aspect, interpolation="nearest" if title == "Change" else "antialiased")
        axis.set_title(title, fontsize=14)
        axis.set_xticks([])
        axis.set_yticks([])
    legend = [Patch(color=_CHANGE_COLOUR, label="change")]
    if (changed == NOT_OBSERVED).any():
        legend.append(Patch(color=_UNSEEN_COLOUR, label="not observed"))
    axes[2].legend(handles=legend, loc="lower right", framealpha=0.9)
    _draw_scale(axes[0], grid, wide)
    model, threshold = tags.get("S2CHANGE_MODEL", "?"), tags.get("S2CHANGE_THRESHOLD", "?")
    figure.supxlabel(f"{_short(before.source)}  →  {_short(after.source)}    model {model}, threshold {threshold}", fontsize=9)
    figure.savefig(target, dpi=110)
    plt.close(figure)


def _short(source: str) -> str:
    """A source's name; of a folder with its parent's, since "imgs_1" alone says little."""
    path = Path(source)
    return f"{path.parent.name}/{path.name}" if path.is_dir() else path.name


def _coarser(grid: Grid) -> Grid:
    """The same ground in at most `_PICTURE_PIXELS` each way."""
    factor = max(1.0, max(grid.shape) / _PICTURE_PIXELS)
    height, width = max(1, round(grid.height / factor)), max(1, round(grid.width / factor))
    scale = Affine.scale(grid.width / width, grid.height / height)
    return Grid(grid.crs, grid.transform @ scale, height, width)


def _true_colour(scene: Scene, grid: Grid) -> Array:
    reader = SceneReader(scene, grid)
    try:
        image = reader.read(grid.window)
    finally:
        reader.close()
    image[np.isinf(image)] = np.nan
    return image


def _stretched(image: Array, low: Array, high: Array) -> Array:
    """Reflectance (band, row, col) as a picture (row, col, band), 0–1, white where not seen."""
    scaled = (image - low[:, None, None]) / np.maximum(high - low, 1e-6)[:, None, None]
    return np.asarray(np.nan_to_num(np.clip(scaled, 0, 1) ** 0.8, nan=1.0).transpose(1, 2, 0), np.float32)


def _draw_scale(axis: Any, grid: Grid, pixel_m: float) -> None:
    """A bar of a round length, about a fifth of the picture wide."""
    wanted = grid.width * pixel_m / 5
    power = 10 ** np.floor(np.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    row, col = grid.height * 0.95, grid.width * 0.04
    axis.plot([col, col + length / pixel_m], [row, row], color="white", linewidth=3, solid_capstyle="butt")
    axis.text(col, row - grid.height * 0.02, text, color="white", fontsize=10, va="bottom")


def _scene_record(scene: Scene) -> dict[str, Any]:
    bands = {name: {"path": band.path, "layer": band.index} for name, band in scene.bands.items()}
    return {"source": scene.source, "units": scene.units, "crs": name_of(scene.grid.crs), "bands": bands}


def _versions() -> dict[str, str]:
    import torch

    return {
        "s2change": version(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "rasterio": rasterio.__version__,
        "gdal": rasterio.__gdal_version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
    }
