"""The simulated sample: two Sentinel-2-like dates of an invented place, with exact truth of its urban change.

A town on a river lies among villages, fields and woods. The ground is drawn at 2.5 m as land cover (streets,
lots, houses, sheds, parcels, tree crowns), lit by the date's sun, blurred by the sensor's point spread and
sampled at each band's own 10 m or 20 m, lifted to the top of the atmosphere through haze and clouds, and
given the sensor's noise. Between the dates sun, haze and crops differ, the second raster is shifted by part
of a pixel and cut elsewhere, and quarters, sheds and a road have been built: only these are change in the
truth.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.crs import CRS
from rasterio.transform import from_origin
from scipy import ndimage, sparse
from scipy.spatial import cKDTree
from scipy.special import ndtr

from s2change_plugin.engine import outputs
from s2change_plugin.engine.bands import BANDS, TEN_BANDS

from .files import write_json

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint8]
Whole = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]

PIXEL = 10.0  # m
SUB = 4  # the ground is drawn with this many cells along each side of a pixel
CELL = PIXEL / SUB
MARGIN = 24  # pixels drawn around before.tif, so that after.tif may be cut elsewhere
CHUNK = 384  # rows and columns of cells drawn at once: bounds memory, fits the processor's cache
HALO = 8  # rows and columns of cells around a chunk whose shadows may reach into it
CREST = 1_000.0  # m, height of the cloud base above ground

# Top-of-atmosphere reflectance, mean and standard deviation over pixels, bands in the order of TEN_BANDS.
# Source: statistics of the OSCD training cities nantes, rennes, bordeaux, pisa and saclay_e, both dates (Caye
# Daudt et al., IGARSS 2018; modified Copernicus Sentinel data 2015-2018). Classes picked by NDVI, NDWI, NDBI,
# the ratio B04/B02, brightness and the local spread of B08; each date counts with at most 3000 pixels.
STATISTICS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "water clear": (
        (0.097, 0.083, 0.058, 0.061, 0.052, 0.054, 0.039, 0.047, 0.027, 0.018),
        (0.003, 0.005, 0.005, 0.007, 0.009, 0.011, 0.004, 0.013, 0.009, 0.006),
    ),
    "water turbid": (
        (0.130, 0.129, 0.125, 0.116, 0.083, 0.087, 0.069, 0.064, 0.018, 0.013),
        (0.005, 0.008, 0.012, 0.013, 0.011, 0.012, 0.010, 0.010, 0.006, 0.004),
    ),
    "forest": (
        (0.097, 0.083, 0.059, 0.094, 0.191, 0.233, 0.237, 0.256, 0.144, 0.081),
        (0.004, 0.006, 0.006, 0.010, 0.026, 0.036, 0.033, 0.040, 0.019, 0.016),
    ),
    "crop": (
        (0.105, 0.096, 0.064, 0.108, 0.302, 0.378, 0.368, 0.406, 0.159, 0.072),
        (0.004, 0.008, 0.007, 0.015, 0.037, 0.037, 0.035, 0.039, 0.024, 0.012),
    ),
    "grass": (
        (0.116, 0.110, 0.094, 0.131, 0.231, 0.270, 0.262, 0.294, 0.210, 0.119),
        (0.004, 0.007, 0.009, 0.012, 0.020, 0.024, 0.022, 0.025, 0.028, 0.021),
    ),
    "stubble": (
        (0.138, 0.141, 0.157, 0.173, 0.225, 0.259, 0.250, 0.288, 0.305, 0.209),
        (0.007, 0.012, 0.017, 0.018, 0.022, 0.025, 0.024, 0.026, 0.029, 0.027),
    ),
    "soil": (
        (0.143, 0.143, 0.161, 0.172, 0.202, 0.225, 0.217, 0.245, 0.273, 0.204),
        (0.012, 0.017, 0.024, 0.025, 0.029, 0.032, 0.031, 0.034, 0.039, 0.035),
    ),
    "bare ground": (
        (0.198, 0.213, 0.252, 0.251, 0.281, 0.303, 0.298, 0.324, 0.352, 0.297),
        (0.021, 0.026, 0.024, 0.032, 0.033, 0.035, 0.025, 0.040, 0.042, 0.044),
    ),
    "tile roof": (
        (0.138, 0.137, 0.171, 0.165, 0.195, 0.214, 0.208, 0.225, 0.269, 0.228),
        (0.015, 0.018, 0.018, 0.025, 0.027, 0.030, 0.023, 0.033, 0.037, 0.038),
    ),
    "grey roof": (
        (0.138, 0.123, 0.124, 0.127, 0.150, 0.163, 0.144, 0.171, 0.176, 0.143),
        (0.014, 0.014, 0.015, 0.018, 0.020, 0.023, 0.016, 0.025, 0.030, 0.028),
    ),
    "blue roof": (
        (0.164, 0.140, 0.132, 0.130, 0.153, 0.167, 0.150, 0.173, 0.166, 0.133),
        (0.017, 0.015, 0.015, 0.020, 0.022, 0.026, 0.021, 0.028, 0.028, 0.027),
    ),
    "bright roof": (
        (0.303, 0.314, 0.345, 0.282, 0.308, 0.325, 0.354, 0.334, 0.318, 0.268),
        (0.066, 0.080, 0.097, 0.081, 0.080, 0.081, 0.099, 0.083, 0.086, 0.091),
    ),
    "asphalt": (
        (0.117, 0.097, 0.092, 0.098, 0.118, 0.128, 0.107, 0.133, 0.128, 0.101),
        (0.007, 0.009, 0.011, 0.011, 0.015, 0.018, 0.012, 0.020, 0.015, 0.014),
    ),
}

# Signal-to-noise ratio at the reference radiance, here taken at reflectance 0.15, in the order of TEN_BANDS.
# Source: Drusch et al. 2012, Sentinel-2: ESA's optical high-resolution mission for GMES, table 1.
SIGNAL_TO_NOISE = (154.0, 168.0, 142.0, 117.0, 89.0, 105.0, 174.0, 72.0, 100.0, 100.0)

# Reflectance of a thick cloud, in the order of TEN_BANDS: white in the visible, darker where water absorbs.
CLOUD = (0.62, 0.60, 0.62, 0.64, 0.66, 0.67, 0.67, 0.68, 0.46, 0.36)

# Standard deviation of the optics and detector blur, in samples of the band: a Gaussian that together with
# the square detector gives a modulation transfer of about 0.27 at the Nyquist frequency (Sentinel-2 Data
# Quality Reports: 0.2 to 0.35).
POINT_SPREAD = 0.42

# Land cover: each runs from one class (value 0) to another (value 1) of STATISTICS; "-" and "+" are one
# standard deviation.
COVERS = {
    "water": ("water clear", "water turbid"),
    "canopy": ("forest -", "forest +"),
    "field": ("soil", "crop"),
    "ripe": ("stubble", "crop"),
    "ploughed": ("soil -", "stubble +"),
    "meadow": ("stubble", "grass +"),
    "garden": ("grass -", "forest"),
    "paved": ("asphalt -", "grey roof +"),
    "tile": ("tile roof -", "tile roof +"),
    "slate": ("asphalt", "grey roof +"),
    "metal": ("blue roof -", "bright roof"),
    "white": ("bright roof -", "bright roof +"),
    "earth": ("soil", "bare ground +"),
}
CODE = {name: code for code, name in enumerate(COVERS)}


@dataclass(frozen=True)
class Acquisition:
    """When and under what sky a date was taken.

    Attributes:
        time: UTC, as in TIFFTAG_DATETIME.
        sun_elevation, sun_azimuth: degrees above the horizon, clockwise from north.
        aerosol: optical thickness at 550 nm.
        autumn: False for the crops of June, True for those of September.
    """

    time: str
    sun_elevation: float
    sun_azimuth: float
    aerosol: float
    autumn: bool


BEFORE = Acquisition("2016:06:22 10:50:31", 62.0, 146.0, 0.10, False)
AFTER = Acquisition("2018:09:08 10:50:27", 47.0, 159.0, 0.22, True)


@dataclass(frozen=True)
class SampleOptions:
    """What to simulate.

    Attributes:
        seed: another seed, another place.
        size: rows and columns of before.tif and after.tif, pixels of 10 m; even, 64 or more.
        shift: misregistration (rows, columns) in pixels, less than 4: what before.tif shows at a coordinate,
            after.tif shows so much further down and to the right.
        offset: row and column of before.tif's grid at which after.tif begins; even, at most 16 either way.
        change_share: share of the area that is built up between the dates; a small scene may get less.
        clouds: whether after.tif has clouds and before.tif a thin veil.
    """

    seed: int = 2
    size: int = 640
    shift: tuple[float, float] = (0.4, -0.5)
    offset: tuple[int, int] = (8, 12)
    change_share: float = 0.024
    clouds: bool = True

    def __post_init__(self) -> None:
        if self.size < 64 or self.size % 2:
            raise ValueError(f"size is {self.size}; it must be even and at least 64.")
        if max(map(abs, self.shift)) >= 4:
            raise ValueError(f"shift is {self.shift}; it must stay below 4 pixels.")
        if max(map(abs, self.offset)) > 16 or any(part % 2 for part in self.offset):
            raise ValueError(f"offset is {self.offset}; it must be even and at most 16 pixels either way.")
        if not 0 <= self.change_share <= 0.2:
            raise ValueError(f"change_share is {self.change_share}; it must lie between 0 and 0.2.")


@dataclass(frozen=True)
class Sample:
    """A simulated pair.

    Attributes:
        before, after: (band, row, col) uint16, top-of-atmosphere reflectance times 10000, bands as TEN_BANDS.
        truth: (row, col) uint8 on before's grid, 1 where half of the pixel or more was built up.
        cloud: (row, col) float32 on before's grid, 0 to 1, how much cloud or cloud shadow `after` has there.
    """

    before: npt.NDArray[np.uint16]
    after: npt.NDArray[np.uint16]
    truth: Codes
    cloud: Floats


# ---------------------------------------------------------------------- the plan of the place

PARCELS = 760.0  # m between the middles of two groups of parcels that share a direction
QUARTERS = 210.0  # m between the middles of two quarters
RURAL, CORE, SUBURB, SLABS, INDUSTRY, PARK, SITE = range(7)  # what a quarter is
TOWN_SPACING = 6_400.0  # m
BYPASS_VERGE = 13.0  # m from the middle of the new road to the end of the ground that its making changed
BYPASS_END = -1500.0, 1100.0  # m along it, from abreast of the middle of the town
TILE = 1024  # cells, period of the fine textures


@dataclass(frozen=True)
class Cells:
    """Quarters or groups of parcels: Voronoi cells of scattered points, and what was drawn by lot for each.

    Attributes:
        x, y: points, metres from the plan's upper left corner, y downwards.
        cos, sin: direction of streets or parcels.
        near: (6, row, col) the points nearest to each square of 40 m.
        kind: what it is; `new`: built between the dates; `urban`: how much of a town it is, 0 to about 1.
    """

    x: Floats
    y: Floats
    cos: Floats
    sin: Floats
    near: Whole
    kind: Codes
    new: Mask
    urban: Floats


@dataclass(frozen=True)
class Block:
    """A lone building: middle, direction, half sizes in metres; `new` if built between the dates."""

    x: float
    y: float
    cos: float
    sin: float
    half_length: float
    half_width: float
    cover: int
    value: float
    new: bool


@dataclass(frozen=True)
class Plan:
    """All that is decided before a cell is drawn.

    Attributes:
        nodes: rows and columns of the plan in pixels, margins included.
        fields: (row, col) float32 by name, per pixel: signed distances in metres to `river`, `pond`,
            `rail`, `motorway`, `bypass` and roads; `forest`, `urban`, `patch`; metres of `warp x`, `warp y`.
        lot: 65536 random numbers from 0 to 1, looked up by what they are for.
        tiles: periodic fine textures, standard deviation 1, by name.
    """

    nodes: int
    fields: dict[str, Floats]
    quarters: Cells
    parcels: Cells
    blocks: tuple[Block, ...]
    lot: Floats
    tiles: dict[str, Floats]


def make_plan(options: SampleOptions) -> Plan:
    """The plan of the place: what lies where, and what will be built."""
    rng = np.random.default_rng(options.seed)
    nodes = options.size + 2 * MARGIN
    x, y = _node_coordinates(nodes)
    middle = nodes * PIXEL * rng.uniform(0.42, 0.56, 2)
    heading = rng.uniform(0, np.pi)
    fields = _lines(x, y, middle, heading, rng)
    fields["pond"] = _ponds(x, y, fields["river"], rng)
    riverside = np.exp(-((fields["river"] / 300) ** 2))
    fields["forest"] = _single(_fractal(nodes, 900.0, 3, rng) - 0.9 * riverside)
    fields["patch"] = _fractal(nodes, 260.0, 3, rng)
    fields["warp x"] = 15 * _noise(nodes, 420.0, rng) + 2.5 * _noise(nodes, 70.0, rng)
    fields["warp y"] = 15 * _noise(nodes, 420.0, rng) + 2.5 * _noise(nodes, 70.0, rng)
    urban = _urbanity(x, y, middle, fields, rng)
    fields["urban"] = urban
    fields["forest"] -= _single(1.2 * np.clip(urban - 0.15, 0, 0.6))
    lot = rng.random(65_536, dtype=np.float32)
    tiles = {name: _tile(sigma, rng) for name, sigma in (("grain", 0.5), ("crown", 1.1), ("clump", 3.5))}
    parcels = _cells(nodes, PARCELS, rng, turn=np.pi, bend=_noise(nodes, 2500.0, rng))
    quarters = _cells(nodes, QUARTERS, rng, turn=0.35, bend=heading + 0.7 * _noise(nodes, 1200.0, rng))
    quarters = _settle(quarters, urban, fields, rng)
    blocks = _blocks(nodes, urban, fields, rng)
    quarters = _develop(quarters, nodes, fields, blocks, options.change_share, rng)
    return Plan(nodes, fields, quarters, parcels, blocks, lot, tiles)


def _node_coordinates(nodes: int) -> tuple[Floats, Floats]:
    """Metres east and south of the plan's corner, of the middle of each pixel: (1, col) and (row, 1)."""
    middles = ((np.arange(nodes) + 0.5) * PIXEL).astype(np.float32)
    return middles[None, :], middles[:, None]


def _single(values: npt.ArrayLike) -> Floats:
    """The values as float32."""
    return np.asarray(values, np.float32)


def _noise(nodes: int, scale: float, rng: np.random.Generator) -> Floats:
    """Smooth random field (row, col) with standard deviation 1 and features of about `scale` metres."""
    step = max(1, int(scale / PIXEL / 6))  # drawn no finer than the features need
    coarse = ndimage.gaussian_filter(rng.standard_normal((nodes // step + 12,) * 2), scale / PIXEL / step / 2.5)
    coarse = coarse[3:-3, 3:-3]
    field = ndimage.zoom(coarse, step, order=2, grid_mode=True, mode="nearest")[:nodes, :nodes]
    return _single((field - coarse.mean()) / coarse.std())


def _fractal(nodes: int, scale: float, octaves: int, rng: np.random.Generator) -> Floats:
    """Random field (row, col), standard deviation about 1, with ever finer and weaker features."""
    total = sum(_noise(nodes, scale / 2**k, rng) / 2**k for k in range(octaves))
    return _single(total / np.sqrt(sum(4.0**-k for k in range(octaves))))


def _tile(sigma: float, rng: np.random.Generator) -> Floats:
    """A periodic texture of TILE x TILE cells, mean 0, standard deviation 1."""
    tile = ndimage.gaussian_filter(rng.standard_normal((TILE, TILE)), sigma, mode="wrap")
    return _single((tile - tile.mean()) / tile.std())


def _lines(x: Floats, y: Floats, middle: npt.NDArray[np.float64], heading: float, rng: np.random.Generator) -> dict[str, Floats]:
    """Signed distances in metres to river, railway, motorway, bypass and roads, and along the bypass."""

    def line(angle: float, aside: float, waves: tuple[tuple[float, float], ...]) -> tuple[Floats, Floats]:
        """Signed distance to a curve that swings around a straight line, and the way along it."""
        along = (x - middle[0]) * np.cos(angle) + (y - middle[1]) * np.sin(angle)
        across = (y - middle[1]) * np.cos(angle) - (x - middle[0]) * np.sin(angle) - aside
        slope = np.zeros_like(along)
        for length, height in waves:
            turn = 2 * np.pi * (along / length + rng.random())
            across = across - height * np.sin(turn)
            slope = slope + height * 2 * np.pi / length * np.cos(turn)
        return (across / np.sqrt(1 + slope**2)).astype(np.float32), along.astype(np.float32)

    fields: dict[str, Floats] = {}
    side = rng.choice((-1.0, 1.0))
    fields["river"], _ = line(heading, side * 700, ((4300, 420), (1900, 150), (800, 30)))
    fields["rail"], _ = line(heading + 0.25, -side * 620, ((9000, 260),))
    fields["motorway"], _ = line(heading + 1.25, 1900, ((7000, 260),))
    fields["bypass"], fields["bypass along"] = line(heading + 0.12, -side * 1750, ((5200, 210),))
    for k, angle in enumerate(heading + np.array([0.55, 1.2, 1.85, 2.65]) + rng.normal(0, 0.12, 4)):
        fields[f"road {k}"], _ = line(float(angle), 0, ((3800, 90), (1500, 22)))
    return fields


def _ponds(x: Floats, y: Floats, river: Floats, rng: np.random.Generator) -> Floats:
    """Distance in metres to the shore of a few lakes beside the river, negative on the water."""
    count = max(3, round(x.size**2 / 70_000))
    rows, cols = np.nonzero((np.abs(river) > 180) & (np.abs(river) < 700))
    shore = np.full(river.shape, 1e6, np.float32)
    for pick in rng.integers(0, rows.size, count):
        east, south = x[0, cols[pick]], y[rows[pick], 0]
        stretch, angle, radius = rng.uniform(0.5, 0.9), rng.uniform(0, np.pi), rng.uniform(45, 150)
        u = (x - east) * np.cos(angle) + (y - south) * np.sin(angle)
        v = ((y - south) * np.cos(angle) - (x - east) * np.sin(angle)) / stretch
        shore = np.minimum(shore, (np.sqrt(u**2 + v**2) - radius).astype(np.float32))
    return shore + 14 * _noise(x.size, 130.0, rng)


def _urbanity(
    x: Floats, y: Floats, middle: npt.NDArray[np.float64], fields: dict[str, Floats], rng: np.random.Generator
) -> Floats:
    """How much of a town each pixel is: about 1 in the middle of a town, 0 in the open country."""
    extent = x.size * PIXEL
    whole = np.zeros((y.size, x.size), np.float32)
    steps = np.arange(-np.ceil(extent / TOWN_SPACING), np.ceil(extent / TOWN_SPACING) + 1)
    for east in middle[0] + steps * TOWN_SPACING:
        for south in middle[1] + steps * TOWN_SPACING:
            reach = rng.uniform(1300, 1550)
            if -reach < east < extent + reach and -reach < south < extent + reach:
                whole = np.maximum(whole, 1.1 * np.exp(-(((x - east) ** 2 + (y - south) ** 2) / reach**2)))
    for east, south in rng.uniform(0, extent, (max(5, round(extent**2 / 5e6)), 2)):
        reach = rng.uniform(220, 430)
        whole = np.maximum(whole, 0.62 * np.exp(-(((x - east) ** 2 + (y - south) ** 2) / reach**2)))
    for k in range(4):
        along = np.exp(-((fields[f"road {k}"] / 260) ** 2))
        whole = _single(whole + 0.16 * along * np.clip(3 * whole, 0, 1))
    return (whole + 0.13 * _fractal(x.size, 1000.0, 3, rng)).astype(np.float32)


def _cells(nodes: int, spacing: float, rng: np.random.Generator, turn: float, bend: Floats) -> Cells:
    """Voronoi cells of a jittered grid; directions follow `bend` (row, col) within `turn` radians."""
    extent, reach = nodes * PIXEL, 3 * spacing
    steps = np.arange(-extent / 2 * 1.5 - reach, extent / 2 * 1.5 + reach, spacing)
    grid = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    askew = rng.uniform(0.35, 1.2)  # so that no edge of a town follows the raster
    points = grid @ np.array([[np.cos(askew), np.sin(askew)], [-np.sin(askew), np.cos(askew)]]) + extent / 2
    points += rng.uniform(-0.5, 0.5, grid.shape) * spacing
    points = points[((points > -reach) & (points < extent + reach)).all(1)]
    angle = bend[_node(points[:, 1], nodes), _node(points[:, 0], nodes)] + turn * rng.uniform(-0.5, 0.5, len(points))
    middles = (np.arange(-(-nodes // 4)) + 0.5) * 4 * PIXEL
    squares = np.stack(np.meshgrid(middles, middles), -1)
    near = np.moveaxis(cKDTree(points).query(squares, 6)[1], -1, 0).astype(np.int32)
    return Cells(
        x=_single(points[:, 0]),
        y=_single(points[:, 1]),
        cos=_single(np.cos(angle)),
        sin=_single(np.sin(angle)),
        near=near,
        kind=np.full(len(points), RURAL, np.uint8),
        new=np.zeros(len(points), np.bool_),
        urban=np.zeros(len(points), np.float32),
    )


def _node(metres: npt.NDArray[np.floating], nodes: int) -> npt.NDArray[np.int64]:
    """The plan's row or column at a distance from its edge, the nearest one outside."""
    nearest: npt.NDArray[np.int64] = np.clip(np.floor(metres / PIXEL), 0, nodes - 1).astype(np.int64)
    return nearest


def _settle(cells: Cells, urban: Floats, fields: dict[str, Floats], rng: np.random.Generator) -> Cells:
    """The quarters with what they were at the first date."""
    at = _node(cells.y, len(urban)), _node(cells.x, len(urban))
    town = urban[at] + rng.normal(0, 0.06, len(cells.x))
    draw = rng.random(len(cells.x))
    traffic = np.minimum(np.abs(fields["rail"][at]), np.abs(fields["motorway"][at]))
    kind = np.full(len(town), RURAL, np.uint8)
    kind[town > 0.36] = SUBURB
    kind[(town > 0.36) & (draw < 0.13)] = SLABS
    kind[town > 0.95] = CORE
    kind[(town > 0.24) & (town < 0.8) & (traffic < 330) & (draw < 0.75)] = INDUSTRY
    kind[(town > 0.36) & (draw > 0.945)] = PARK
    return replace(cells, kind=kind, urban=town.astype(np.float32))


def _blocks(nodes: int, urban: Floats, fields: dict[str, Floats], rng: np.random.Generator) -> tuple[Block, ...]:
    """Lone buildings: farms and sheds in the country, and those that are new at the second date anywhere."""
    extent = nodes * PIXEL
    blocks = []
    for index in range(round(extent**2 / 1.6e5)):
        east, south = rng.uniform(0, extent, 2)
        row, col = _node(np.array([south, east]), nodes)
        new = index % 5 == 0
        dry = abs(fields["river"][row, col]) > 110 and fields["pond"][row, col] > 60
        angle, length, width = rng.uniform(0, np.pi), rng.lognormal(3.0, 0.45), rng.uniform(0.4, 0.9)
        if new:
            length = max(16.0, 1.25 * length)
        cover = rng.choice([CODE["white"], CODE["metal"], CODE["tile"], CODE["slate"]], p=[0.25, 0.3, 0.2, 0.25])
        value = rng.uniform(0.1, 0.9)
        if dry and 0.05 < urban[row, col] < (0.7 if new else 0.3):
            half = float(min(length, 60))
            blocks.append(
                Block(
                    float(east), float(south), float(np.cos(angle)), float(np.sin(angle)),
                    half, float(max(7.0, half * width)), int(cover), float(value), new,
                )
            )  # fmt: skip
    return tuple(blocks)


def _develop(
    cells: Cells,
    nodes: int,
    fields: dict[str, Floats],
    blocks: tuple[Block, ...],
    share: float,
    rng: np.random.Generator,
) -> Cells:
    """The quarters after building at the town's edge until `share` of the scene is new."""
    middles = (np.arange(MARGIN, nodes - MARGIN, 2) + 1) * PIXEL
    owner = cKDTree(np.stack([cells.x, cells.y], 1)).query(np.stack(np.meshgrid(middles, middles), -1))[1]
    area = np.bincount(owner.ravel(), minlength=len(cells.x)) * (2 * PIXEL) ** 2
    at = _node(cells.y, nodes), _node(cells.x, nodes)
    dry = (np.abs(fields["river"][at]) > 220) & (fields["pond"][at] > 130) & (np.abs(fields["motorway"][at]) > 130)
    edge = (cells.kind == RURAL) & (cells.urban > 0.12) & (cells.urban < 0.36) & dry & (area > 15_000)
    wish = rng.random(len(area)) + 0.3 * np.exp(-((fields["bypass"][at] / 350) ** 2))
    order = np.argsort(-wish)
    wanted = share * ((nodes - 2 * MARGIN) * PIXEL) ** 2
    wanted -= sum(4 * (b.half_length + 6) * (b.half_width + 6) for b in blocks if b.new)
    wanted -= 2 * BYPASS_VERGE * (BYPASS_END[1] - BYPASS_END[0])
    kind, new = cells.kind.copy(), cells.new.copy()
    kinds = rng.permutation(np.resize([INDUSTRY, SUBURB, SITE, INDUSTRY, SUBURB], len(area)))
    for index in order[edge[order]]:
        if wanted < area[index] / 2:
            continue
        kind[index], new[index] = kinds[index], True
        wanted -= area[index]
    return replace(cells, kind=kind, new=new)


# ---------------------------------------------------------------------- the ground, cell by cell

# The crops: share of the parcels, then land cover and value in June and in September.
CROPS = (
    (0.24, "ripe", 0.22, "ploughed", 0.75),  # wheat: yellowing, then stubble
    (0.10, "ripe", 0.05, "ploughed", 0.30),  # barley: cut, then ploughed
    (0.08, "ripe", 0.50, "field", 0.22),  # rape: pods, then volunteer plants
    (0.20, "field", 0.42, "field", 0.72),  # maize: young, then tall
    (0.10, "field", 0.85, "ripe", 0.45),  # beet, potatoes: closed, then fading
    (0.17, "meadow", 0.95, "meadow", 0.75),
    (0.05, "garden", 0.45, "garden", 0.40),  # orchards
    (0.03, "ploughed", 0.60, "field", 0.55),  # late vegetables
    (0.03, "canopy", 0.50, "canopy", 0.40),  # small woods
)
SEASON = {"canopy": -0.12, "garden": -0.08, "meadow": -0.10}  # what September takes from the value of June
GRAIN = {
    "canopy": 0.20,
    "garden": 0.13,
    "white": 0.05,
    "earth": 0.05,
    "water": 0.0,
    "field": 0.04,
    "ripe": 0.04,
}


class Canvas:
    """The land cover of one date on some rows of cells, painted from the country to the buildings.

    Attributes:
        cover: (row, col) code of COVERS.
        value: where between the cover's two classes.
        height: metres above ground.
        gain: factor on the reflectance from the slope of a roof.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.cover = np.full(shape, CODE["meadow"], np.uint8)
        self.value = np.full(shape, 0.5, np.float32)
        self.height = np.zeros(shape, np.float32)
        self.gain = np.ones(shape, np.float32)

    def paint(
        self,
        mask: Mask,
        cover: str | int | Codes,
        value: float | Floats,
        height: float | Floats = 0.0,
        gain: float | Floats = 1.0,
    ) -> None:
        """Cover the cells of `mask`."""
        np.copyto(self.cover, CODE[cover] if isinstance(cover, str) else cover, where=mask, casting="unsafe")
        np.copyto(self.value, value, where=mask, casting="unsafe")
        np.copyto(self.height, height, where=mask, casting="unsafe")
        np.copyto(self.gain, gain, where=mask, casting="unsafe")

    def put(self, mask: Mask, other: Canvas) -> None:
        """Take over the cells of `mask` from another canvas: one as large, or one of these cells alone."""
        for name in ("cover", "value", "height", "gain"):
            source = getattr(other, name)
            getattr(self, name)[mask] = source[mask] if source.ndim == mask.ndim else source


class Ground:
    """Some cells of a plan: their coordinates, and the plan's fields, textures and lots at each of them.

    Attributes:
        x, y: metres from the plan's upper left corner, bent a little, as streets and edges are.
        shape: of all arrays: (row, col), or (cell,) for a choice of cells.
    """

    def __init__(self, plan: Plan, rows: Whole, columns: Whole) -> None:
        self.plan = plan
        self.rows, self.columns = rows, columns
        self.down = _interpolation(rows, plan.nodes)
        self.right = _interpolation(columns, plan.nodes).T.tocsr()
        self.picked: npt.NDArray[np.intp] | None = None
        self.shape: tuple[int, ...] = (len(rows), len(columns))
        self.x = ((columns + 0.5) * CELL).astype(np.float32)[None, :] + self.field("warp x")
        self.y = ((rows + 0.5) * CELL).astype(np.float32)[:, None] + self.field("warp y")

    def choice(self, mask: Mask) -> Ground:
        """The cells of a mask alone, in one row."""
        part = copy.copy(self)
        part.picked = np.flatnonzero(mask)
        part.shape = part.picked.shape
        part.x, part.y = self.x[mask], self.y[mask]
        return part

    def field(self, name: str) -> Floats:
        """A field of the plan, interpolated linearly to the cells."""
        field: Floats = (self.down @ self.plan.fields[name]) @ self.right
        return field if self.picked is None else field.ravel()[self.picked]

    def texture(self, name: str) -> Floats:
        """A periodic texture at the cells."""
        texture = self.plan.tiles[name][np.ix_(self.rows % TILE, self.columns % TILE)]
        return texture if self.picked is None else texture.ravel()[self.picked]

    def lot(self, purpose: int, *index: Whole) -> Floats:
        """The number from 0 to 1 that was drawn for a purpose and an index (cell, row of lots, lot)."""
        key = index[0] * np.int32(7919) + np.int32(purpose * 129_983)
        for part, factor in zip(index[1:], (104_729, 31_337), strict=False):
            key += part * np.int32(factor)
        return _single(self.plan.lot[key & 0xFFFF])

    def nearest(self, cells: Cells) -> tuple[Whole, Floats]:
        """Index of the Voronoi cell, and metres to its border."""
        down, right = self.rows // (4 * SUB), self.columns // (4 * SUB)
        nearby = cells.near[:, down[0] : down[-1] + 1, right[0] : right[-1] + 1]
        squares = np.ix_(down - down[0], right - right[0])
        best = np.full(self.shape, np.inf, np.float32)
        second = best.copy()
        index = np.zeros(self.shape, np.int32)
        for near in nearby:
            distance = (self.x - cells.x[near][squares]) ** 2 + (self.y - cells.y[near][squares]) ** 2
            np.minimum(second, np.maximum(distance, best), out=second)
            np.copyto(index, near[squares], where=distance < best)
            np.minimum(best, distance, out=best)
        return index, _single((np.sqrt(second) - np.sqrt(best)) / 2)

    def frame(self, cells: Cells, index: Whole) -> tuple[Floats, Floats]:
        """Metres along and across the direction of each Voronoi cell."""
        cos, sin = cells.cos[index], cells.sin[index]
        return self.x * cos + self.y * sin, self.y * cos - self.x * sin

    def rows_of_lots(self, way: Floats, size: float | Floats, purpose: int, *index: Whole) -> tuple[Whole, Floats]:
        """Uneven stretches of about `size` metres along a way: number, and metres to the nearer end."""
        ratio = way / size
        number = np.floor(ratio).astype(np.int32)
        number -= ratio - number < 0.4 * self.lot(purpose, *index, number)
        start = number + 0.4 * self.lot(purpose, *index, number)
        end = number + 1 + 0.4 * self.lot(purpose, *index, number + 1)
        return number, (np.minimum(ratio - start, end - ratio) * size).astype(np.float32)


def _interpolation(cells: npt.NDArray[np.integer], nodes: int, parts: int = SUB) -> sparse.csr_array:
    """Matrix (cell, node) that interpolates linearly from nodes to cells, `parts` of them to a node."""
    place = np.clip((cells + 0.5) / parts - 0.5, 0, nodes - 1)
    first = np.minimum(place.astype(np.int64), nodes - 2)
    share = (place - first).astype(np.float32)
    entries = np.stack([1 - share, share], 1).ravel()
    columns = np.stack([first, first + 1], 1).ravel()
    return sparse.csr_array((entries, columns, np.arange(0, 2 * len(cells) + 1, 2)), shape=(len(cells), nodes))


def draw(plan: Plan, rows: Whole, columns: Whole) -> tuple[Canvas, Canvas, Mask]:
    """Land cover of both dates on a rectangle of cells, and which of them were built up between the dates."""
    ground = Ground(plan, rows, columns)
    before, after = Canvas(ground.shape), Canvas(ground.shape)
    quarter, border = ground.nearest(plan.quarters)
    _paint_country(ground, before, after)
    new = plan.quarters.new[quarter]
    _paint_town(ground, after, quarter, border)
    before.put((plan.quarters.kind[quarter] != RURAL) & ~new, after)
    new |= _paint_blocks(ground, before, after)
    new |= _paint_bypass(ground, after)
    return before, after, new & ~_paint_lines(ground, before, after)


def _paint_country(ground: Ground, before: Canvas, after: Canvas) -> None:
    """Fields in their crops of both dates, hedges, lanes and woods."""
    parcels = ground.plan.parcels
    group, border = ground.nearest(parcels)
    along, across = ground.frame(parcels, group)
    breadth = 40 + 190 * ground.lot(1, group) ** 2
    row, beside = ground.rows_of_lots(across, breadth, 2, group)
    length = 110 + 320 * ground.lot(3, group, row)
    field, ahead = ground.rows_of_lots(along + 200 * ground.lot(4, group, row), length, 5, group, row)
    draw = ground.lot(6, group, row, field)
    crop = np.searchsorted(np.cumsum([share for share, *_ in CROPS])[:-1], draw)
    stripes = 0.05 * np.cos(2 * np.pi * across / (14 + 16 * ground.lot(7, group, row, field)))
    soil, clump = ground.field("patch"), ground.texture("clump")
    for canvas, at in ((before, 1), (after, 3)):
        cover = np.array([CODE[str(entry[at])] for entry in CROPS], np.uint8)[crop]
        value = np.array([entry[at + 1] for entry in CROPS], np.float32)[crop]
        own = 0.34 * (ground.lot(8 + at, group, row, field) - 0.5)
        canvas.paint(np.ones(ground.shape, np.bool_), cover, value + own + stripes + 0.07 * soil + 0.03 * clump)
    edge = np.minimum(beside, ahead)
    hedged = ground.lot(13, group, row) < 0.30
    hedge = hedged & (edge < 4.0) & (clump > -0.7)
    lane, verge = border < 3.0, border < 9.0
    woodland = ground.field("forest") + 0.05 * clump
    wood = woodland + 0.55 * (ground.lot(14, group, row, field) - 0.5) > 0.85
    wood |= woodland > 1.1
    stand = 0.05 + 0.8 * ground.lot(15, group, row, field) + 0.16 * soil + 0.12 * clump
    tall = 12 + 3 * ground.texture("crown")
    for canvas in (before, after):
        canvas.paint(~hedged & (edge < 2.2), "meadow", 0.7)
        canvas.paint(hedge, "canopy", 0.5, 6.0)
        canvas.paint(verge, "meadow", 0.9)
        canvas.paint(verge & (clump > 1.1), "canopy", 0.5, 8.0)
        canvas.paint(wood & (border > 4), "canopy", stand, tall)
        canvas.paint(lane, "paved", 0.5)


def _paint_town(ground: Ground, canvas: Canvas, quarter: Whole, border: Floats) -> None:
    """Everything that stands at the second date in the quarters that are not country."""
    cells = ground.plan.quarters
    kind = cells.kind[quarter]
    for which, paint in PAINTERS.items():
        mask = kind == which
        if mask.any():
            part, at = ground.choice(mask), quarter[mask]
            painted = Canvas(part.shape)
            paint(part, painted, at, *part.frame(cells, at))
            canvas.put(mask, painted)
    town = kind != RURAL
    trees = town & (border < 10.5) & (ground.lot(16, quarter) < 0.35) & ~cells.new[quarter]
    canvas.paint(trees & (ground.texture("crown") > -0.2), "canopy", 0.6, 9.0)
    canvas.paint(town & (border < 5.5), "paved", 0.35)


def _roof(ground: Ground, shares: tuple[float, float, float], draw: Floats) -> Codes:
    """Land cover of roofs: tiles, slate or metal by shares, white for the rest."""
    names = ("tile", "slate", "metal", "white")
    codes = np.array([CODE[name] for name in names], np.uint8)
    return codes[np.searchsorted(np.cumsum(shares), draw)]


def _paint_core(ground: Ground, canvas: Canvas, quarter: Whole, along: Floats, across: Floats) -> None:
    """Old town: closed blocks of tall houses around courtyards."""
    everywhere = np.ones(ground.shape, np.bool_)
    row, beside = ground.rows_of_lots(across, 58.0, 20, quarter)
    block, ahead = ground.rows_of_lots(along, 84.0, 21, quarter, row)
    inner = np.minimum(beside, ahead)
    house, _ = ground.rows_of_lots(along, 13.0, 22, quarter, row)
    depth, _ = ground.rows_of_lots(across, 15.0, 23, quarter, house)
    draw = ground.lot(24, quarter, house, depth)
    full = ground.lot(25, quarter, row, block) < 0.45
    green = ground.texture("clump") > 0.3
    canvas.paint(everywhere, "paved", 0.45)
    canvas.paint((inner > 3.4), "paved", 0.3 + 0.7 * draw)
    canvas.paint((inner > 15.0) & green, "garden", 0.75, 7.0)
    slope = np.float32(0.9) + 0.22 * (ground.lot(26, quarter, house, depth) > 0.5)
    roofs = (inner > 3.4) & ((inner < 16.0) | (full & (draw < 0.8)))
    value = ground.lot(27, quarter, house, depth) * 1.1 - 0.15
    canvas.paint(roofs, _roof(ground, (0.5, 0.4, 0.06), draw), value, 10 + 8 * draw, slope)
    square = (ground.lot(28, quarter, row, block) < 0.05) & (inner > 3.4)
    canvas.paint(square, "paved", 0.95)


def _paint_suburb(ground: Ground, canvas: Canvas, quarter: Whole, along: Floats, across: Floats) -> None:
    """Detached houses in gardens along streets; bare young gardens where new."""
    everywhere = np.ones(ground.shape, np.bool_)
    new = ground.plan.quarters.new[quarter]
    row, beside = ground.rows_of_lots(across, 54 + 28 * ground.lot(38, quarter), 30, quarter)
    _, ahead = ground.rows_of_lots(along, 80 + 90 * ground.lot(39, quarter), 31, quarter, row)
    side = ground.lot(32, quarter, row)
    house, party = ground.rows_of_lots(along + 40 * side, 19.0, 33, quarter, row)
    back, _ = ground.rows_of_lots(across, 30.0, 34, quarter, house)
    draw = ground.lot(35, quarter, house, back)
    clump, crown = ground.texture("clump"), ground.texture("crown")
    street = np.minimum(beside, ahead) < 3.2
    canvas.paint(everywhere, "garden", np.where(new, -0.25 + 0.5 * draw, 0.1 + 0.8 * draw + 0.15 * clump))
    canvas.paint(new & (draw > 0.5), "earth", 0.35 * draw)
    canvas.paint(~new & (clump + 0.7 * crown > 0.85), "canopy", 0.55, 7.0)
    canvas.paint(~new & (draw < 0.15) & (beside < 9), "paved", 0.6)
    home = (beside > 6.5 + 3 * draw) & (beside < 16.5 + 5 * draw) & (party > 2.2) & (ahead > 6)
    slope = np.float32(0.9) + np.float32(0.22) * (beside > 12 + 3 * draw)
    value = ground.lot(36, quarter, house, back) * 1.2 - 0.1
    roofs = home & (draw < 0.88)
    canvas.paint(roofs, _roof(ground, (0.5, 0.44, 0.04), ground.lot(37, quarter, house, back)), value, 6.0, slope)
    canvas.paint(street, "paved", np.where(new, np.float32(0.5), np.float32(0.4)))


def _paint_slabs(ground: Ground, canvas: Canvas, quarter: Whole, along: Floats, across: Floats) -> None:
    """Housing estates: long flat-roofed blocks, lawns, trees and car parks."""
    everywhere = np.ones(ground.shape, np.bool_)
    row, beside = ground.rows_of_lots(across, 52.0, 40, quarter)
    slab, ahead = ground.rows_of_lots(along, 96.0, 41, quarter, row)
    draw = ground.lot(42, quarter, row, slab)
    clump = ground.texture("clump")
    canvas.paint(everywhere, "garden", 0.1 + 0.15 * clump)
    canvas.paint((clump + ground.texture("crown") > 1.2), "canopy", 0.6, 8.0)
    canvas.paint((beside < 11) & (draw > 0.4), "paved", 0.6)
    canvas.paint((np.minimum(beside, ahead) < 3.2), "paved", 0.4)
    roofs = (beside > 14) & (beside < 26) & (ahead > 10) & (draw < 0.85)
    cover = _roof(ground, (0.06, 0.5, 0.2), ground.lot(43, quarter, row, slab))
    canvas.paint(roofs, cover, 0.2 + 0.6 * ground.lot(44, quarter, row, slab), 8 + 10 * draw)


def _paint_industry(ground: Ground, canvas: Canvas, quarter: Whole, along: Floats, across: Floats) -> None:
    """Works and warehouses: large flat roofs on paved yards."""
    everywhere = np.ones(ground.shape, np.bool_)
    row, beside = ground.rows_of_lots(across, 105.0, 50, quarter)
    lot, ahead = ground.rows_of_lots(along, 125.0, 51, quarter, row)
    draw = ground.lot(52, quarter, row, lot)
    inner = np.minimum(beside, ahead)
    clump = ground.texture("clump")
    canvas.paint(everywhere, "paved", 0.3 + 0.75 * ground.lot(53, quarter, row, lot) + 0.1 * clump)
    canvas.paint((draw > 0.82) & (inner > 9), "meadow", 0.6 + 0.1 * clump)
    canvas.paint((draw > 0.7) & (draw < 0.82) & (inner > 6), "earth", 0.45 + 0.1 * clump)
    canvas.paint((inner > 5) & (inner < 9), "garden", 0.2)
    canvas.paint((inner < 5), "paved", 0.4)
    bay, _ = ground.rows_of_lots(along, 42.0, 54, quarter, row)
    hall = (inner > 13 + 8 * draw) & (draw < 0.7) & ((ground.lot(55, quarter, row, bay) < 0.8) | (inner > 24))
    cover = _roof(ground, (0.08, 0.30, 0.44), ground.lot(56, quarter, row, lot))
    shade = np.float32(0.93) + 0.14 * ground.lot(57, quarter, row, bay)
    canvas.paint(hall, cover, ground.lot(58, quarter, row, lot) * 0.9, 9.0, shade)


def _paint_park(ground: Ground, canvas: Canvas, quarter: Whole, along: Floats, across: Floats) -> None:
    """Lawns, groups of trees, paths and a sports ground here and there."""
    everywhere = np.ones(ground.shape, np.bool_)
    clump = ground.texture("clump")
    canvas.paint(everywhere, "garden", 0.1 + 0.1 * clump)
    canvas.paint(ground.field("patch") + 0.35 * clump > 0.25, "canopy", 0.65, 11.0)
    row, beside = ground.rows_of_lots(across, 90.0, 60, quarter)
    _, ahead = ground.rows_of_lots(along, 130.0, 61, quarter, row)
    pitch = (beside > 12) & (ahead > 12) & (ground.lot(62, quarter, row) < 0.35)
    canvas.paint(pitch, "meadow", 1.15)
    canvas.paint(pitch & (np.minimum(beside, ahead) < 18), "tile", 0.7)
    canvas.paint(np.minimum(beside, ahead) < 2, "earth", 0.6)


def _paint_site(ground: Ground, canvas: Canvas, quarter: Whole, along: Floats, across: Floats) -> None:
    """A construction site: bare ground with tracks, pits and the first roofs."""
    everywhere = np.ones(ground.shape, np.bool_)
    clump = ground.texture("clump")
    row, beside = ground.rows_of_lots(across, 55.0, 70, quarter)
    lot, ahead = ground.rows_of_lots(along, 70.0, 71, quarter, row)
    draw = ground.lot(72, quarter, row, lot)
    inner = np.minimum(beside, ahead)
    rough = _single(0.16 * clump + 0.14 * ground.field("patch"))
    canvas.paint(everywhere, "earth", 0.1 + 0.45 * ground.lot(73, quarter) + rough)
    canvas.paint((inner > 8) & (draw < 0.3), "earth", -0.2 + rough)
    canvas.paint((beside < 4) & (ground.lot(74, quarter, row) < 0.7), "earth", 0.75)
    canvas.paint((inner > 14) & (draw > 0.88), "paved", 0.9, 4.0)


PAINTERS = {
    CORE: _paint_core,
    SUBURB: _paint_suburb,
    SLABS: _paint_slabs,
    INDUSTRY: _paint_industry,
    PARK: _paint_park,
    SITE: _paint_site,
}


def _paint_blocks(ground: Ground, before: Canvas, after: Canvas) -> Mask:
    """Lone buildings, the new ones on the second date only; gives the cells of the new ones."""
    new = np.zeros(ground.shape, np.bool_)
    east, south = (ground.columns + 0.5) * CELL, (ground.rows + 0.5) * CELL
    for block in ground.plan.blocks:
        reach = block.half_length + block.half_width + 12
        if not (east[0] - reach < block.x < east[-1] + reach and south[0] - reach < block.y < south[-1] + reach):
            continue
        x, y = (east - block.x)[None, :], (south - block.y)[:, None]
        along, across = np.abs(x * block.cos + y * block.sin), np.abs(y * block.cos - x * block.sin)
        yard = (along < block.half_length + 6) & (across < block.half_width + 6)
        roof = (along < block.half_length) & (across < block.half_width)
        for canvas in (after,) if block.new else (before, after):
            canvas.paint(yard, "paved", 0.8)
            canvas.paint(roof, block.cover, block.value, 7.0)
        if block.new:
            new |= yard
    return new


def _paint_bypass(ground: Ground, canvas: Canvas) -> Mask:
    """The new road with its verges still bare; gives its cells."""
    along, aside = ground.field("bypass along"), np.abs(ground.field("bypass"))
    road = (aside < BYPASS_VERGE) & (along > BYPASS_END[0]) & (along < BYPASS_END[1])
    canvas.paint(road, "earth", 0.5)
    canvas.paint(road & (aside < 7), "paved", 0.35)
    return road


def _paint_lines(ground: Ground, before: Canvas, after: Canvas) -> Mask:
    """River, ponds, railway, motorway and main roads of both dates; gives the cells that they cover."""
    river, pond = np.abs(ground.field("river")), ground.field("pond")
    clump, patch = ground.texture("clump"), ground.field("patch")
    width = 45 + 7 * patch + 9 * ground.field("forest")
    bank = (river < width + 20) & (clump > -0.4)
    water = river < width
    fixed = water | (pond < 0)
    rail, motorway = np.abs(ground.field("rail")), np.abs(ground.field("motorway"))
    tracks = 6 + 130 * np.clip(ground.field("urban") - 0.75, 0, 0.25)  # a station in the middle of the town
    roads = np.min([np.abs(ground.field(f"road {k}")) for k in range(4)], axis=0)
    for canvas in (before, after):
        canvas.paint(bank, "canopy", 0.6 + 0.1 * clump, 9.0)
        canvas.paint((pond < 12) & (clump > 0), "canopy", 0.5, 6.0)
        canvas.paint(water, "water", 0.75 + 0.03 * patch)
        canvas.paint(pond < 0, "water", 0.12)
        canvas.paint(rail < tracks + 5, "earth", -0.1)
        canvas.paint(rail < tracks, "slate", _single(0.3 + 0.2 * np.cos(rail * 0.45)))
        canvas.paint(motorway < 26, "meadow", 0.7)
        canvas.paint((motorway < 14.5) & (motorway > 1.8), "paved", 0.35)
        canvas.paint((roads < 11) & (roads > 7.5) & (clump > 0.2), "canopy", 0.5, 7.0)
        canvas.paint(roads < 7.5, "paved", 0.5)
    fixed |= bank | (rail < tracks + 5) | (motorway < 26) | (roads < 7.5)
    return fixed


# ---------------------------------------------------------------------- light, air and sensor


def rayleigh(wavelength_nm: float) -> float:
    """Optical thickness of the clear air at sea level.

    Source: Hansen and Travis 1974, Light scattering in planetary atmospheres, equation 2.30.
    """
    w = wavelength_nm / 1000
    return 0.008569 * w**-4 * (1 + 0.0113 * w**-2 + 0.00013 * w**-4)


def air(band: str, acquisition: Acquisition, haze: Floats | float = 1.0) -> tuple[Floats | float, Floats | float]:
    """Path reflectance and two-way transmittance of the air in a band, looking straight down.

    Single scattering by molecules and by an aerosol (Angstrom exponent 1.3, backscattering 0.2, single-
    scattering albedo 0.92), a quarter more for what scatters twice. Lost on the way down and up: half the
    molecules' thickness and a fifth of the aerosol's, the part that does not go on forward. `haze` is a
    factor on the aerosol.

    Source: Vermote et al. 1997, Second Simulation of the Satellite Signal (6S), for the equations.
    """
    sun = np.sin(np.radians(acquisition.sun_elevation))
    wavelength = BANDS[band].wavelength_nm
    molecules = rayleigh(wavelength)
    aerosol = acquisition.aerosol * haze * (550 / wavelength) ** 1.3
    path = 1.25 * (0.75 * (1 + sun**2) * molecules + 0.2 * 0.92 * aerosol) / (4 * sun)
    transmittance = np.exp(-(0.5 * molecules + 0.2 * aerosol) * (1 + 1 / sun))
    return path, transmittance


def surface_reflectance() -> dict[str, npt.NDArray[np.float64]]:
    """Reflectance (band,) of the ground by class: "soil", and "soil -", "soil +" a standard deviation away.

    STATISTICS seen through the average of the two dates' air, undone.
    """
    sky = Acquisition("", (BEFORE.sun_elevation + AFTER.sun_elevation) / 2, 0, (BEFORE.aerosol + AFTER.aerosol) / 2, False)
    path, transmittance = np.array([air(band, sky) for band in TEN_BANDS]).T
    classes = {}
    for name, (mean, deviation) in STATISTICS.items():
        for sign, factor in (("", 0.0), (" -", -1.0), (" +", 1.0)):
            toa = np.array(mean) + factor * np.array(deviation)
            classes[name + sign] = np.maximum((toa - path) / transmittance, 0.004)
    return classes


_CLASSES = surface_reflectance()
LOW = np.array([_CLASSES[first] for first, _ in COVERS.values()], np.float32).T.copy()  # (band, cover)
RISE = np.array([_CLASSES[second] for _, second in COVERS.values()], np.float32).T - LOW
GRAIN_OF = np.array([GRAIN.get(name, 0.07) for name in COVERS], np.float32)
SEASON_OF = np.array([SEASON.get(name, 0.0) for name in COVERS], np.float32)


def cast_shadow(height: Floats, acquisition: Acquisition) -> Mask:
    """Cells whose sun is hidden by something higher within HALO cells."""
    climb = CELL * np.tan(np.radians(acquisition.sun_elevation))
    azimuth = np.radians(acquisition.sun_azimuth)
    shadow = np.zeros(height.shape, np.bool_)
    for step in range(1, HALO + 1):
        towards_sun = round(-np.cos(azimuth) * step), round(np.sin(azimuth) * step)
        shadow |= np.roll(height, (-towards_sun[0], -towards_sun[1]), (0, 1)) > height + np.float32(step * climb)
    return shadow


def sampling(start: float, count: int, gsd: int, cells: int) -> sparse.csr_array:
    """Matrix (sample, cell) of a row of detectors: each sees a square, blurred by the point spread.

    Args:
        start: where the first sample begins, in pixels of 10 m from the plan's edge; any fraction.
        count: number of samples.
        gsd: size of a sample in pixels of 10 m: 1 or 2.
        cells: number of cells along the plan.
    """
    middle = (start + (np.arange(count) + 0.5) * gsd)[:, None]
    reach = int(2.3 * gsd * SUB)
    index = np.round(middle * SUB).astype(np.int64) + np.arange(-reach, reach)
    offset = ((index + 0.5) / SUB - middle) / gsd
    weight = ndtr((offset + 0.5) / POINT_SPREAD) - ndtr((offset - 0.5) / POINT_SPREAD)
    weight = weight * ((index >= 0) & (index < cells))
    weight /= weight.sum(1, keepdims=True)
    rows = np.broadcast_to(np.arange(count)[:, None], index.shape)
    entries = (weight.ravel().astype(np.float32), (rows.ravel(), np.clip(index, 0, cells - 1).ravel()))
    return sparse.csr_array(entries, shape=(count, cells))


GUARD = 2  # pixels sampled around a raster, from which its 20 m bands are interpolated


def _chunks(cells: int) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of cells of each chunk."""
    edges = [slice(first, min(first + CHUNK, cells)) for first in range(0, cells, CHUNK)]
    return product(edges, edges)


def _detectors(options: SampleOptions, corner: tuple[float, float], cells: int) -> dict[int, list[sparse.csr_array]]:
    """By sample size in pixels, the sampling matrices down and across of a raster that begins at `corner`."""
    return {
        gsd: [sampling(MARGIN - GUARD + at, (options.size + 2 * GUARD) // gsd, gsd, cells) for at in corner] for gsd in (1, 2)
    }


def _sample_ground(plan: Plan, options: SampleOptions) -> tuple[list[Floats], list[Floats], Floats]:
    """Ground reflectance of both dates, each band at its own sampling, and the share that is new."""
    cells = plan.nodes * SUB
    offset, shift = options.offset, options.shift
    detectors = [_detectors(options, corner, cells) for corner in ((0.0, 0.0), (offset[0] - shift[0], offset[1] - shift[1]))]
    gsds = {band: BANDS[band].gsd_m // 10 for band in TEN_BANDS}
    seen = [[np.zeros(((options.size + 2 * GUARD) // gsd,) * 2, np.float32) for gsd in gsds.values()] for _ in detectors]
    share = np.zeros((options.size,) * 2, np.float32)
    pixels = _pixels(options.size, cells)
    for down, right in _chunks(cells):
        rows, columns = (
            np.clip(np.arange(part.start - HALO, part.stop + HALO, dtype=np.int32), 0, cells - 1) for part in (down, right)
        )
        *canvases, new = draw(plan, rows, columns)
        _add(share, pixels[:, down], pixels[:, right], new[HALO:-HALO, HALO:-HALO].astype(np.float32))
        crown = 0.6 * plan.tiles["crown"] + 0.4 * plan.tiles["grain"]
        crown = crown[np.ix_(rows[HALO:-HALO] % TILE, columns[HALO:-HALO] % TILE)]
        for canvas, acquisition, detector, bands in zip(canvases, (BEFORE, AFTER), detectors, seen, strict=True):
            cuts = {gsd: (vertical[:, down], horizontal[:, right]) for gsd, (vertical, horizontal) in detector.items()}
            for image, gsd, lit in zip(bands, gsds.values(), light(canvas, acquisition, crown), strict=True):
                _add(image, *cuts[gsd], lit)
    return seen[0], seen[1], share


def light(canvas: Canvas, acquisition: Acquisition, crown: Floats) -> Iterator[Floats]:
    """Reflectance (row, col) of the cells inside the halo under this sun, for each of TEN_BANDS."""
    inner = slice(HALO, -HALO), slice(HALO, -HALO)
    cover = canvas.cover[inner]
    value = canvas.value[inner] + (SEASON_OF[cover] if acquisition.autumn else 0)
    gain = canvas.gain[inner] * (1 + GRAIN_OF[cover] * crown)
    hidden = cast_shadow(canvas.height, acquisition)[inner] * gain
    for number, band in enumerate(TEN_BANDS):
        colour = LOW[number][cover] + RISE[number][cover] * value
        colour *= gain - np.float32(1 - _diffuse(band)) * hidden
        yield np.maximum(colour, 0.002, out=colour)


def _add(image: Floats, down: sparse.csr_array, right: sparse.csr_array, cells: Floats) -> None:
    """Add to the samples of an image what they see of a chunk of cells."""
    rows, columns = np.flatnonzero(np.diff(down.indptr)), np.flatnonzero(np.diff(right.indptr))
    if rows.size and columns.size:
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        image[window] += (down[window[0]] @ cells) @ right[window[1]].T


def _diffuse(band: str) -> float:
    """Share of the light that reaches the ground from the sky: all there is in a shadow, more in the blue."""
    return 0.12 + 1.4 * rayleigh(BANDS[band].wavelength_nm)


def _pixels(size: int, cells: int) -> sparse.csr_array:
    """Matrix (pixel, cell) of the share of each pixel of before.tif that a cell covers along one axis."""
    pixel = np.arange(size * SUB) // SUB
    entries = (np.full(size * SUB, 1 / SUB, np.float32), (pixel, np.arange(size * SUB) + MARGIN * SUB))
    return sparse.csr_array(entries, shape=(size, cells))


def _sky(nodes: int, acquisition: Acquisition, clouds: bool, rng: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Haze factor, cloud opacity and cloud-shadow depth, (row, col) on the plan."""
    haze = np.clip(1 + 0.15 * _noise(nodes, 3500.0, rng), 0.5, 1.6).astype(np.float32)
    cloud = np.zeros((nodes, nodes), np.float32)
    if not clouds:
        return haze, cloud, cloud
    body, detail = _fractal(nodes, 1100.0, 2, rng), _fractal(nodes, 300.0, 4, rng)
    field = body + 0.4 * detail
    if not acquisition.autumn:
        veil = np.clip(field - np.quantile(field, 0.93), 0, None)
        return haze, (0.1 * veil / veil.max()).astype(np.float32), cloud
    cloud = np.clip((field - np.quantile(field, 0.972)) / 0.75, 0, 1)
    cloud = ndimage.gaussian_filter(0.95 * cloud * cloud * (3 - 2 * cloud), 1.0).astype(np.float32)
    way = CREST / np.tan(np.radians(acquisition.sun_elevation)) / PIXEL
    azimuth = np.radians(acquisition.sun_azimuth)
    fall = way * np.cos(azimuth), -way * np.sin(azimuth)
    shadow = ndimage.shift(ndimage.gaussian_filter(cloud, 2.0), fall, order=1, mode="mirror")
    return haze, cloud, (0.55 * shadow).astype(np.float32)


def _look(
    ground: list[Floats],
    acquisition: Acquisition,
    sky: tuple[Floats, ...],
    corner: tuple[int, int],
    rng: np.random.Generator,
) -> npt.NDArray[np.uint16]:
    """Digital numbers (band, row, col) that the sensor makes of ground reflectance under a sky."""
    size = len(ground[0]) - 2 * GUARD
    window = tuple(slice(MARGIN - GUARD + at, MARGIN + GUARD + at + size) for at in corner)
    dn = np.empty((len(TEN_BANDS), size, size), np.uint16)
    for number, band in enumerate(TEN_BANDS):
        gsd = BANDS[band].gsd_m // 10
        haze, cloud, shadow = (_block_mean(field[window], gsd) for field in sky)
        path, transmittance = air(band, acquisition, haze)
        toa = path + transmittance * ground[number] * (1 - shadow * (1 - _diffuse(band)))
        toa = toa * (1 - cloud) + CLOUD[number] * cloud
        deviation = np.sqrt(np.maximum(toa, 0.005) * 0.15) / SIGNAL_TO_NOISE[number]
        toa = toa + deviation * rng.standard_normal(toa.shape, dtype=np.float32)
        if gsd == 2:
            finer = _interpolation(np.arange(2 * len(toa)), len(toa), 2)
            toa = finer @ toa @ finer.T
        dn[number] = np.clip(np.round(toa[GUARD:-GUARD, GUARD:-GUARD] * 10_000), 1, 65_534)
    return dn


def _block_mean(field: Floats, gsd: int) -> Floats:
    """Mean of blocks of gsd x gsd pixels."""
    rows, cols = (length // gsd for length in field.shape)
    return _single(field.reshape(rows, gsd, cols, gsd).mean((1, 3)))


def simulate_pair(options: SampleOptions) -> Sample:
    """The pair; the same options give the same numbers."""
    plan = make_plan(options)
    first, second, share = _sample_ground(plan, options)
    rng = np.random.default_rng([options.seed, 1])
    skies = [_sky(plan.nodes, acquisition, options.clouds, rng) for acquisition in (BEFORE, AFTER)]
    inside = slice(MARGIN, MARGIN + options.size)
    return Sample(
        _look(first, BEFORE, skies[0], (0, 0), rng),
        _look(second, AFTER, skies[1], options.offset, rng),
        (share >= 0.5).astype(np.uint8),
        np.maximum(skies[1][1], skies[1][2])[inside, inside],
    )


# ---------------------------------------------------------------------- files

CRS_OF_SAMPLE = CRS.from_epsg(32631)
CORNER = (
    399_960.0 + 24_000,
    4_900_020.0 - 31_000,
)  # easting, northing: on the 10 m raster of tile 31TDK, nowhere in particular


def write_sample(folder: Path, options: SampleOptions) -> dict[str, Path]:
    """Simulate a pair; gives the paths of before.tif, after.tif, truth.tif and sample.json by stem.

    They appear all at once, when they are whole, or not at all.

    Raises:
        OutputError: they cannot be written; then all is as it was.
        OSError: the folder cannot be made.
    """
    paths = {name: folder / f"{name}.tif" for name in ("before", "after", "truth")} | {"sample": folder / "sample.json"}
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        outputs.require_folders(list(paths.values()))
        with outputs.workdir_beside(paths["sample"]) as workdir:
            finished = {name: workdir / path.name for name, path in paths.items()}
            sample = simulate_pair(options)
            with outputs.writing(paths["sample"]):
                _write_files(finished, sample, options)
            outputs.publish({finished[name]: path for name, path in paths.items()})
    finally:
        if made and not any(folder.iterdir()):
            folder.rmdir()
    return paths


def _write_files(paths: Mapping[str, Path], sample: Sample, options: SampleOptions) -> None:
    """Write a sample's files, each to its path."""
    shift = f"{options.shift[0]:+g} rows, {options.shift[1]:+g} columns"
    common = {"SIMULATED": "yes", "SEED": str(options.seed), "SHIFT_AGAINST_BEFORE": shift}
    _write(
        paths["before"],
        sample.before,
        (0, 0),
        {**common, "TIFFTAG_DATETIME": BEFORE.time},
        TEN_BANDS,
        1e-4,
        0,
    )
    _write(
        paths["after"],
        sample.after,
        options.offset,
        {**common, "TIFFTAG_DATETIME": AFTER.time},
        TEN_BANDS,
        1e-4,
        0,
    )
    _write(paths["truth"], sample.truth[None], (0, 0), common, ("urban change",), 1.0, None)
    write_json(paths["sample"], _account(sample, options))


def _account(sample: Sample, options: SampleOptions) -> dict[str, object]:
    """What sample.json says."""
    return {
        "simulated": True,
        "what": "Two dates of an invented place as Sentinel-2 would see it, and its urban change",
        "statistics": "OSCD training cities (Caye Daudt et al. 2018, modified Copernicus Sentinel data)",
        "options": asdict(options),
        "before": asdict(BEFORE),
        "after": asdict(AFTER),
        "bands": list(TEN_BANDS),
        "unit": "top-of-atmosphere reflectance x 10000, offset 0, 0 is nodata",
        "shift": "what before.tif shows at a coordinate, after.tif shows so many pixels down and right",
        "truth": "1 where half of a pixel or more was built up or dug up; crops and season are 0",
        "change_share": round(float(sample.truth.mean()), 5),
        "cloud_share": round(float((sample.cloud > 0.1).mean()), 5),
    }


def _write(
    path: Path,
    image: npt.NDArray[np.uint16] | Codes,
    begin: tuple[int, int],
    tags: dict[str, str],
    names: tuple[str, ...],
    scale: float,
    nodata: int | None,
) -> None:
    """Write (band, row, col) as a tiled GeoTIFF that begins `begin` rows and columns into the sample.

    Raises:
        OSError: it does not read back; GDAL says nothing when a disk fills up while it closes a file.
    """
    count, height, width = image.shape
    profile = {
        "driver": "GTiff",
        "dtype": image.dtype.name,
        "count": count,
        "height": height,
        "width": width,
        "nodata": nodata,
        "crs": CRS_OF_SAMPLE,
        "transform": from_origin(CORNER[0] + PIXEL * begin[1], CORNER[1] - PIXEL * begin[0], PIXEL, PIXEL),
        "compress": "DEFLATE",
        "predictor": 2,
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "interleave": "band",
    }
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(image)
        raster.descriptions = names
        raster.scales = (scale,) * count
        raster.update_tags(**tags)
    with rasterio.open(path) as raster:
        if not np.array_equal(raster.read(), image):
            raise OSError("what was written does not read back")
