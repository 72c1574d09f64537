"""Any scene to one analysis-ready raster: reflectance on one 10 m grid, and beside it what is usable."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import outputs
from .acquisition import tags_of
from .bands import TEN_BANDS, parse_layers
from .errors import NothingObserved, UnitsUnclear
from .events import Events
from .files import without_queries
from .grid import Grid, base_grid, crs_of, name_of, sample_windows, windows
from .masks import BUFFER_M, CLOUDS, masks_of, require_buffer
from .outputs import Layer, RasterWriter
from .pair import DateReader
from .radiometry import QUANTIFICATION, SATURATED_DN, Array, contradiction
from .report import version
from .scene import ASSUMED_TAG, BUFFER_TAG, MASKS_TAG, NO_MASKS, PRODUCT_TAG, QUALITY_TAG, Scene, open_scene
from .validity import QUALITY_COLOURS, QUALITY_NAMES, Quality, tells_clouds

_WINDOW = 1024
_NODATA_DN, _SATURATED = 0, 65535
# Of one date alone "no data" has no side, and nothing is outside.
_DATE_NAMES = {code: name for code, name in QUALITY_NAMES.items() if code not in (Quality.NODATA_AFTER, Quality.OUTSIDE)}
_DATE_NAMES[Quality.OBSERVED] = "usable"
_DATE_NAMES[Quality.NODATA_BEFORE] = "no data"
_DATE_NAMES[Quality.SNOW] = "snow"
_QUALITY = Layer(("usable, or why not",), "nearest", _DATE_NAMES, {code: QUALITY_COLOURS[code] for code in _DATE_NAMES})


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """One scene to be made ready, as asked for.

    Attributes:
        source: what `scene.open_scene` opens.
        output: GeoTIFF to write.
        quality: raster of quality codes to write; None puts it beside the output, as NAME_quality.tif.
        bands, units, trust_units: see `scene.open_scene`.
        crs: as `grid.crs_of` reads it, for files that have none or a wrong one.
        clouds, mask, mask_buffer: see `pair.PairOptions`.
    """

    source: str
    output: Path
    quality: Path | None = None
    bands: str | None = None
    crs: str | None = None
    units: str = "auto"
    trust_units: bool = False
    clouds: str = "auto"
    mask: str | None = None
    mask_buffer: float = BUFFER_M

    def __post_init__(self) -> None:
        """Refuse what cannot be meant.

        Raises:
            ValueError: unknown bands, CRS or masks, or a buffer out of reason; the text says which.
            OutputError: outputs in one file, in place of the input, or with another format's ending.
        """
        parse_layers(self.bands)
        crs_of(self.crs)
        if self.clouds not in CLOUDS:
            raise ValueError(f"clouds is {self.clouds!r} and must be one of {', '.join(CLOUDS)}")
        require_buffer(self.mask_buffer)
        outputs.require_apart([self.source, self.mask], [self.output, self.quality_path])
        outputs.require_ending("raster", self.output, self.quality_path)

    @property
    def quality_path(self) -> Path:
        """Where the quality codes go."""
        return self.quality or self.output.with_name(f"{self.output.stem}_quality.tif")


def stack(options: StackOptions, events: Events) -> None:
    """Write a scene as one Cloud Optimized GeoTIFF, and say through events how it goes and what came out.

    Reflectance × 10000 as uint16 with the offset taken off, 0 nodata, 65535 saturated, one described band each, on the 10 m
    grid on which a comparison would read it; the quality codes beside it.

    Raises:
        S2ChangeError: one of its kinds; then nothing is left behind.
    """
    targets = {"output": options.output, "quality": options.quality_path}
    outputs.require_folders(list(targets.values()))
    with outputs.workdir_beside(options.output) as workdir, ExitStack() as opened:
        events.started(str(workdir.resolve()))
        bands = parse_layers(options.bands)
        scene = open_scene(options.source, bands, options.units, "", options.trust_units, crs_of(options.crs))
        outputs.require_not_read([scene, options.mask], list(targets.values()))
        lacking = [name for name in TEN_BANDS if name in scene.missing]
        if lacking:
            scene.select(lacking)
        if scene.missing:
            events.message(f"{scene.source} lacks {', '.join(scene.missing)}, which the stack does without.", "warning")
        masks = masks_of(scene, options.clouds, options.mask)
        of_clouds = [mask.origin for mask in masks if tells_clouds(mask)]
        if scene.unused_mask and options.clouds in ("auto", "product") and not options.mask:
            events.message(f"{scene.source}: {scene.unused_mask}.", "warning")
        if not of_clouds:
            events.message(
                "Clouds are not masked, and the stack says so. Give a mask with --mask, or try --clouds spectral.", "warning"
            )
        grid = base_grid(scene.grid)
        reader = DateReader(scene, tuple(scene.bands), masks, grid, options.mask_buffer)
        opened.callback(reader.close)
        assumed = _require_unit(scene, reader, grid, options.trust_units, events)
        tags = {"S2CHANGE_VERSION": version(), "S2CHANGE_SOURCE": without_queries(scene.source), "S2CHANGE_UNITS": scene.units}
        tags |= tags_of(scene.acquisition) | ({ASSUMED_TAG: "yes"} if assumed else {})
        tags |= {PRODUCT_TAG: "yes"} if all(band.rule.product for band in scene.bands.values()) else {}
        layer = Layer(tuple(scene.bands), "average", scale=1 / QUANTIFICATION, dtype="uint16", nodata=_NODATA_DN)
        usable = pixels = 0
        with outputs.writing(options.output):
            writers = {
                "output": RasterWriter(
                    workdir / "output",
                    grid,
                    layer,
                    tags | {QUALITY_TAG: _from(options.output, options.quality_path), BUFFER_TAG: f"{options.mask_buffer:g}"},
                ),
                "quality": RasterWriter(
                    workdir / "quality", grid, _QUALITY, tags | {MASKS_TAG: "; ".join(of_clouds) or NO_MASKS}
                ),
            }
            for writer in writers.values():
                opened.callback(writer.close)
            for window in events.progress("stack", windows(*grid.shape, _WINDOW)):
                reflectance, codes = reader.read(window)
                writers["output"].write(to_dn(reflectance), window)
                writers["quality"].write(codes, window)
                usable += int((codes == Quality.OBSERVED).sum())
                pixels += int((codes != Quality.NODATA_BEFORE).sum())
            if not pixels:
                raise NothingObserved(f"{options.source} holds nothing but nodata. Pick another scene.")
            finished = {writers[name].finish(target): target for name, target in events.progress("write", list(targets.items()))}
        outputs.publish(finished)
    values: dict[str, Any] = {
        "output": str(options.output.resolve()),
        "quality": str(options.quality_path.resolve()),
        "bands": list(scene.bands),
        "units": scene.units,
        "masks": [mask.origin for mask in masks],
        "usable_share": round(usable / pixels, 6),
        "acquisition": {**asdict(scene.acquisition), "sensed": scene.acquisition.sensed and scene.acquisition.sensed.isoformat()},
        "grid": {"crs": name_of(grid.crs), "height": grid.height, "width": grid.width},
    }
    events.result(
        values,
        f"{len(scene.bands)} bands of {grid.height} × {grid.width} pixels, {100 * usable / pixels:.1f} % of what it shows is usable. "
        f"{values['output']}",
    )


def _require_unit(scene: Scene, reader: DateReader, grid: Grid, trusted: bool, events: Events) -> bool:
    """Stop where the values contradict the unit by which they are read; True, and said, where it is only assumed."""
    rules = [band.rule for band in scene.bands.values()]
    samples = []
    for window in sample_windows(grid.height, grid.width, 256, 16):
        reflectance, _ = reader.read(window)
        reflectance[np.isinf(reflectance)] = np.nan
        samples.append(reflectance)
    wrong = None if trusted else contradiction(samples, tuple(scene.bands), rules, "")
    if wrong:
        raise UnitsUnclear(f"{wrong} If it is right as it is, add --trust-units.")
    assumed = not all(rule.assured for rule in rules)
    if assumed:
        events.message(f"The unit is assumed: {scene.units}. If that is wrong, say --units.", "warning")
    return assumed


def _from(output: Path, quality: Path) -> str:
    """The quality raster's path as seen from the output's folder, so that both can move together."""
    try:
        return Path(os.path.relpath(quality.resolve(), output.resolve().parent)).as_posix()
    except ValueError:
        # Another drive on Windows.
        return str(quality.resolve())


def to_dn(reflectance: Array) -> NDArray[np.uint16]:
    """Reflectance as it is stored: uint16, × 10000, at least 1; 0 is nodata (NaN), 65535 saturated (+inf).

    Args:
        reflectance: float32, any shape.
    """
    dn = np.nan_to_num(reflectance * QUANTIFICATION, nan=_NODATA_DN, posinf=_SATURATED)
    dn = np.where(np.isfinite(reflectance), np.clip(np.rint(dn), 1, SATURATED_DN - 1), dn)
    return np.asarray(dn, np.uint16)
