"""Complete Sentinel-2 products, for tests and to measure on: own, minimal metadata of the real structure, lossless JPEG 2000 bands."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.features import shapes

from s2change_plugin.engine.bands import ALL_BANDS, BANDS, L2A_BANDS, TEN_BANDS

SENSED = datetime(2023, 8, 23, 10, 55, 41, 24000, tzinfo=timezone.utc)
MADE = "20230824T020406"
QUANTIFICATION = 10000
GROUND_BANDS = {10: TEN_BANDS, 12: L2A_BANDS, 13: ALL_BANDS}


@dataclass(frozen=True)
class Recipe:
    """What a product is to say of itself and how it is to be written.

    Attributes:
        level: "L1C" or "L2A".
        baseline: processing baseline.
        offset: in digital numbers, of all bands or of each, as RADIO_ADD_OFFSET or BOA_ADD_OFFSET lists it; None: no list, offset 0.
        shuffle: the list of offsets is not in the order of the bands.
        sensed, platform, tile, orbit, sun: as the metadata says them; sun is (zenith, azimuth) in degrees.
        epsg, origin: where the tile's upper left corner lies.
        old: names as before December 2016, and elements as the first Level-2A products had them.
        mask: "scl", "classi", "gml" or "none"; "auto" is scl for Level-2A; for Level-1C classi from baseline 04.00, else gml.
        copies: Level-2A: the bands at their coarser resolutions too, as real products have them.
        leave_out: bands, or "MTD_TL", that are listed but not written.
        lower: all names of files and folders in lower case.
        zipped: "stored" or "deflated": a zip instead of a folder.
    """

    level: str = "L1C"
    baseline: str = "05.09"
    offset: float | Mapping[str, float] | None = -1000
    shuffle: bool = False
    sensed: datetime = SENSED
    platform: str = "S2A"
    tile: str = "31TDH"
    orbit: int = 51
    sun: tuple[float, float] = (36.5, 151.25)
    epsg: int = 32631
    origin: tuple[float, float] = (399960.0, 4700040.0)
    old: bool = False
    mask: str = "auto"
    copies: bool = False
    leave_out: Collection[str] = ()
    lower: bool = False
    zipped: str | None = None

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands that the level has."""
        return L2A_BANDS if self.level == "L2A" else ALL_BANDS

    @property
    def start(self) -> str:
        """The time of sensing as names have it."""
        return self.sensed.strftime("%Y%m%dT%H%M%S")

    @property
    def owner(self) -> str:
        """Who made it, as the old names of files begin."""
        return f"{self.platform}_{'USER' if self.level == 'L2A' else 'OPER'}"

    @property
    def name(self) -> str:
        """The product's name, without .SAFE."""
        if self.old:
            return f"{self.owner}_PRD_MSI{self.level}_PDMC_{MADE}_R{self.orbit:03d}_V{self.start}_{self.start}"
        number = self.baseline.replace(".", "")
        return f"{self.platform}_MSI{self.level}_{self.start}_N{number}_R{self.orbit:03d}_T{self.tile}_{MADE}"

    @property
    def metadata(self) -> str:
        """Name of the product's metadata file."""
        return self.name.replace("_PRD_MSI", "_MTD_SAF") + ".xml" if self.old else f"MTD_MSI{self.level}.xml"

    @property
    def granule(self) -> str:
        """Name of the granule's folder."""
        return f"{self.old_stem('MSI')}_N{self.baseline}" if self.old else f"{self.level}_T{self.tile}_A013204_{self.start}"

    @property
    def granule_metadata(self) -> str:
        """Name of the granule's metadata file."""
        return f"{self.old_stem('MTD')}.xml" if self.old else "MTD_TL.xml"

    @property
    def mask_kind(self) -> str:
        """How the clouds are written."""
        if self.mask != "auto":
            return self.mask
        return "scl" if self.level == "L2A" else "classi" if self.baseline >= "04.00" else "gml"

    def image(self, what: str, gsd: int) -> str:
        """Path of an image below the granule, without its extension: a band's, or SCL's."""
        folder = f"IMG_DATA/R{gsd}m/" if self.level == "L2A" else "IMG_DATA/"
        if self.old:
            stem = self.old_stem("SCL") if what == "SCL" else f"{self.old_stem('MSI')}_{what}"
        else:
            stem = f"T{self.tile}_{self.start}_{what}"
        return f"{folder}{stem}_{gsd}m" if self.level == "L2A" else f"{folder}{stem}"

    def offset_of(self, band: str) -> float:
        """The offset of a band, in digital numbers."""
        if isinstance(self.offset, Mapping):
            return self.offset[band]
        return self.offset or 0

    def old_stem(self, kind: str) -> str:
        """How the granule's old names begin; its identifier still does."""
        return f"{self.owner}_{kind}_{self.level}_TL_MPS__{MADE}_A013204_T{self.tile}"


def write_product(
    folder: Path,
    reflectance: np.ndarray | Mapping[str, np.ndarray],
    recipe: Recipe | None = None,
    clouds: np.ndarray | None = None,
    shadow: np.ndarray | None = None,
    snow: np.ndarray | None = None,
    **changes: object,
) -> Path:
    """Write a product and return what a user would pick: the .SAFE folder, or the zip.

    Args:
        folder: where it is to lie.
        reflectance: band to (row, col) at the band's own resolution; or the ground at 10 m, (band, row, col) with 10, 12 or 13 bands
            in their usual order, whose sides are multiples of 6, from which coarser bands are averaged. NaN becomes nodata, +inf saturated.
        recipe, changes: see `Recipe`; changes are its attributes by name.
        clouds, shadow, snow: boolean (row, col) at 10 m; what the recipe's mask cannot say of them (shadow outside SCL) is left out.
    """
    recipe = replace(recipe or Recipe(), **changes)  # type: ignore[arg-type]
    bands = reflectance if isinstance(reflectance, Mapping) else _bands_of_ground(np.asarray(reflectance), recipe)
    safe = folder / f"{recipe.name}.SAFE"
    granule = write_metadata(safe, recipe)
    numbers = {name: _numbers(values, recipe.offset_of(name)) for name, values in bands.items() if name in recipe.bands}
    for name, dn in numbers.items():
        gsd = BANDS[name].gsd_m
        sizes = [size for size in (20, 60) if size > gsd] if recipe.copies and recipe.level == "L2A" else []
        for size in sizes:
            _write_jp2(granule / f"{recipe.image(name, size)}.jp2", coarser(dn, size // gsd)[None], recipe, size)
        if name not in recipe.leave_out:
            write_band(granule, name, dn, recipe)
    seen = next(np.kron(dn != 0, np.ones((BANDS[name].gsd_m // 10,) * 2, bool)) for name, dn in numbers.items())
    clouds, shadow, snow = (np.zeros(seen.shape, bool) if part is None else part for part in (clouds, shadow, snow))
    _write_mask(granule, recipe, seen, clouds, shadow, snow)
    if recipe.lower:
        for path in sorted(safe.rglob("*"), key=lambda path: -len(path.parts)):
            path.rename(path.with_name(path.name.lower()))
        safe = safe.rename(safe.with_name(safe.name.lower()))
    return zip_folder(safe, recipe.zipped) if recipe.zipped else safe


def write_metadata(safe: Path, recipe: Recipe) -> Path:
    """Write what a product says of itself, and return the folder of its granule, for the images."""
    granule = safe / "GRANULE" / recipe.granule
    (granule / "QI_DATA").mkdir(parents=True)
    (safe / recipe.metadata).write_text(_product_xml(recipe), "utf-8")
    if "MTD_TL" not in recipe.leave_out:
        (granule / recipe.granule_metadata).write_text(_granule_xml(recipe), "utf-8")
    return granule


def write_band(granule: Path, band: str, numbers: np.ndarray, recipe: Recipe, block: int = 128) -> None:
    """Write the digital numbers of a band, uint16 (row, col) at its own resolution, in blocks of so many pixels each way."""
    gsd = BANDS[band].gsd_m
    _write_jp2(granule / f"{recipe.image(band, gsd)}.jp2", numbers[None], recipe, gsd, block)


def write_no_clouds(granule: Path, recipe: Recipe, shape: tuple[int, int]) -> None:
    """Write the mask of a Level-1C product of (row, col) pixels of 10 m that says that there are no clouds and no snow."""
    layers = np.zeros((3, *(-(-side // 6) for side in shape)), np.uint8)
    _write_jp2(granule / "QI_DATA" / "MSK_CLASSI_B00.jp2", layers, recipe, 60)


def zip_folder(folder: Path, how: str = "deflated") -> Path:
    """Put a folder into a zip beside it, as a download has it, and take it away."""
    target = folder.with_suffix(".zip")
    kind = {"stored": zipfile.ZIP_STORED, "deflated": zipfile.ZIP_DEFLATED}[how]
    with zipfile.ZipFile(target, "w", kind) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent).as_posix())
    shutil.rmtree(folder)
    return target


def _bands_of_ground(ground: np.ndarray, recipe: Recipe) -> dict[str, np.ndarray]:
    layers = dict(zip(GROUND_BANDS[len(ground)], ground, strict=True))
    means = {name: _block_mean(layer, BANDS[name].gsd_m // 10) for name, layer in layers.items() if name in recipe.bands}
    # As it can be stored: else a half is rounded one way with an offset and the other way without.
    return {name: np.round(mean, 4) for name, mean in means.items()}


def _block_mean(values: np.ndarray, size: int) -> np.ndarray:
    height, width = values.shape
    return np.asarray(values.reshape(height // size, size, width // size, size).mean((1, 3)))


def coarser(numbers: np.ndarray, size: int) -> np.ndarray:
    """Means of squares of so many pixels each way of digital numbers, uint16 (row, col), rounded."""
    return np.round(_block_mean(numbers, size)).astype(np.uint16)


def _any(flags: np.ndarray, size: int) -> np.ndarray:
    return _block_mean(flags.astype(float), size) > 0


def _numbers(reflectance: np.ndarray, offset: float) -> np.ndarray:
    """Digital numbers: uint16, 1 at least where there is ground, 0 where there is none."""
    values = np.clip(np.round(np.nan_to_num(reflectance, nan=0, posinf=1e6) * QUANTIFICATION - offset), 1, 65535)
    return np.where(np.isnan(reflectance), 0, values).astype(np.uint16)


def _write_jp2(path: Path, values: np.ndarray, recipe: Recipe, gsd: int, block: int = 128) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path,
        "w",
        driver="JP2OpenJPEG",
        count=len(values),
        height=values.shape[1],
        width=values.shape[2],
        dtype=values.dtype,
        crs=f"EPSG:{recipe.epsg}",
        transform=_transform(recipe, gsd),
        QUALITY="100",
        REVERSIBLE="YES",
        BLOCKXSIZE=str(block),
        BLOCKYSIZE=str(block),
        # Down to 64 pixels of a block.
        RESOLUTIONS=str((block // 32).bit_length() - 1),
    ) as raster:
        raster.write(values)


def _transform(recipe: Recipe, gsd: int) -> Affine:
    return Affine(gsd, 0, recipe.origin[0], 0, -gsd, recipe.origin[1])


def _write_mask(
    granule: Path, recipe: Recipe, seen: np.ndarray, clouds: np.ndarray, shadow: np.ndarray, snow: np.ndarray
) -> None:
    if recipe.mask_kind == "scl":
        classes = np.full([side // 2 for side in seen.shape], 4, np.uint8)
        for flags, code in ((snow, 11), (shadow, 3), (clouds, 9), (~seen, 0)):
            classes[_any(flags, 2)] = code
        _write_jp2(granule / f"{recipe.image('SCL', 20)}.jp2", classes[None], recipe, 20)
    elif recipe.mask_kind == "classi":
        # Cirrus is a layer of its own: the right half of the clouds is.
        halves = (clouds, np.zeros_like(clouds), snow)
        halves[1][:, clouds.shape[1] // 2 :] = clouds[:, clouds.shape[1] // 2 :]
        layers = np.stack([_any(flags, 6) for flags in (clouds & ~halves[1], halves[1], snow)]).astype(np.uint8)
        _write_jp2(granule / "QI_DATA" / "MSK_CLASSI_B00.jp2", layers, recipe, 60)
    elif recipe.mask_kind == "gml":
        old = f"{recipe.owner}_MSK_CLOUDS_MPS__{MADE}_A013204_T{recipe.tile}_B00_MSIL1C"
        stem = old if recipe.old else "MSK_CLOUDS_B00"
        (granule / "QI_DATA" / f"{stem}.gml").write_text(_clouds_gml(recipe, clouds), "utf-8")


def _clouds_gml(recipe: Recipe, clouds: np.ndarray) -> str:
    """Cloud polygons with their holes; the first is cirrus, the others opaque. Without clouds no envelope, as in real ones."""
    features: list[str] = []
    for shape, _ in shapes(clouds.astype(np.uint8), mask=clouds, transform=_transform(recipe, 10)):
        outer, *inner = [" ".join(f"{x} {y}" for x, y in ring) for ring in _exact(shape["coordinates"])]
        kind = "OPAQUE" if features else "CIRRUS"
        rings = [
            f"<gml:exterior>{_ring(outer)}</gml:exterior>",
            *(f"<gml:interior>{_ring(ring)}</gml:interior>" for ring in inner),
        ]
        features.append(
            f'<eop:MaskFeature gml:id="{kind}.{len(features)}"><eop:maskType codeSpace="urn:gs2:S2PDGS:maskType">{kind}</eop:maskType>'
            f"<eop:extentOf><gml:Polygon>{''.join(rings)}</gml:Polygon></eop:extentOf></eop:MaskFeature>"
        )
    envelope = (
        f'<gml:boundedBy><gml:Envelope srsName="urn:ogc:def:crs:EPSG:8.7:{recipe.epsg}"><gml:lowerCorner>0 0</gml:lowerCorner>'
        "<gml:upperCorner>1 1</gml:upperCorner></gml:Envelope></gml:boundedBy>"
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<eop:Mask xmlns:eop="http://www.opengis.net/eop/2.0" '
        'xmlns:gml="http://www.opengis.net/gml/3.2" gml:id="mask">'
        f"{envelope if features else ''}<eop:maskMembers>{''.join(features)}</eop:maskMembers></eop:Mask>\n"
    )


def _exact(rings: list[list[tuple[float, float]]]) -> list[list[tuple[int, int]]]:
    return [[(round(x), round(y)) for x, y in ring] for ring in rings]


def _ring(positions: str) -> str:
    return f'<gml:LinearRing><gml:posList srsDimension="2">{positions}</gml:posList></gml:LinearRing>'


def _product_xml(recipe: Recipe) -> str:
    digit = recipe.level[1:]
    prefix = "L2A_" if recipe.old and recipe.level == "L2A" else ""
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{digit}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{digit}.xsd">
<n1:General_Info>
<{prefix}Product_Info>
<PRODUCT_START_TIME>{_time(recipe.sensed)}</PRODUCT_START_TIME>
<PRODUCT_URI>{"" if recipe.old else f"{recipe.name}.SAFE"}</PRODUCT_URI>
<PROCESSING_LEVEL>Level-{digit}{"p" if prefix else ""}</PROCESSING_LEVEL>
<PRODUCT_TYPE>S2MSI{digit}{"p" if prefix else ""}</PRODUCT_TYPE>
<PROCESSING_BASELINE>{recipe.baseline}</PROCESSING_BASELINE>
<Datatake datatakeIdentifier="G{recipe.platform}_{recipe.start}_013204_N{recipe.baseline}">
<SPACECRAFT_NAME>Sentinel-{recipe.platform[1:]}</SPACECRAFT_NAME>
<DATATAKE_SENSING_START>{_time(recipe.sensed)}</DATATAKE_SENSING_START>
<SENSING_ORBIT_NUMBER>{recipe.orbit}</SENSING_ORBIT_NUMBER>
</Datatake>
<{prefix}Product_Organisation><Granule_List>{_granule_list(recipe)}</Granule_List></{prefix}Product_Organisation>
</{prefix}Product_Info>
<{prefix}Product_Image_Characteristics>
{_quantification(recipe)}
{_offset_list(recipe)}
</{prefix}Product_Image_Characteristics>
</n1:General_Info>
</n1:Level-{digit}_User_Product>
"""


def _granule_list(recipe: Recipe) -> str:
    element, image = ("Granules", "IMAGE_ID") if recipe.old else ("Granule", "IMAGE_FILE")
    if recipe.old and recipe.level == "L2A":
        image = "IMAGE_ID_2A"
    wanted = [(band, BANDS[band].gsd_m) for band in recipe.bands]
    if recipe.level == "L2A":
        wanted += [(band, size) for band in recipe.bands for size in (20, 60) if size > BANDS[band].gsd_m and recipe.copies]
        wanted += [("SCL", 20)]
    paths = [recipe.image(what, gsd) for what, gsd in wanted]
    listed = [path.rpartition("/")[2] if recipe.old else f"GRANULE/{recipe.granule}/{path}" for path in paths]
    files = "".join(f"<{image}>{path}</{image}>" for path in listed)
    identifier = f"{recipe.old_stem('MSI')}_N{recipe.baseline}"
    return f'<{element} granuleIdentifier="{identifier}" imageFormat="JPEG2000">{files}</{element}>'


def _quantification(recipe: Recipe) -> str:
    if recipe.level == "L1C":
        return f'<QUANTIFICATION_VALUE unit="none">{QUANTIFICATION}</QUANTIFICATION_VALUE>'
    if recipe.old:
        return (
            '<L1C_L2A_Quantification_Values_List><L1C_TOA_QUANTIFICATION_VALUE unit="none">1</L1C_TOA_QUANTIFICATION_VALUE>'
            f'<L2A_BOA_QUANTIFICATION_VALUE unit="none">{QUANTIFICATION}</L2A_BOA_QUANTIFICATION_VALUE>'
            "</L1C_L2A_Quantification_Values_List>"
        )
    return (
        f'<QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">{QUANTIFICATION}</BOA_QUANTIFICATION_VALUE>'
        '<AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE></QUANTIFICATION_VALUES_LIST>'
    )


def _offset_list(recipe: Recipe) -> str:
    if recipe.offset is None:
        return ""
    element, parent = (
        ("RADIO_ADD_OFFSET", "Radiometric_Offset_List")
        if recipe.level == "L1C"
        else ("BOA_ADD_OFFSET", "BOA_ADD_OFFSET_VALUES_LIST")
    )
    offsets = recipe.offset if isinstance(recipe.offset, Mapping) else dict.fromkeys(ALL_BANDS, recipe.offset)
    entries = [f'<{element} band_id="{BANDS[band].band_id}">{value:g}</{element}>' for band, value in offsets.items()]
    if recipe.shuffle:
        entries = list(np.random.default_rng(1).permutation(entries))
    return f"<{parent}>{''.join(entries)}</{parent}>"


def _granule_xml(recipe: Recipe) -> str:
    digit = recipe.level[1:]
    return f"""<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{digit}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{digit}_Tile_Metadata.xsd">
<n1:General_Info>
<TILE_ID>{recipe.old_stem("MSI")}_N{recipe.baseline}</TILE_ID>
<SENSING_TIME>{_time(recipe.sensed)}</SENSING_TIME>
</n1:General_Info>
<n1:Geometric_Info>
<Tile_Geocoding><HORIZONTAL_CS_CODE>EPSG:{recipe.epsg}</HORIZONTAL_CS_CODE></Tile_Geocoding>
<Tile_Angles>
<Mean_Sun_Angle>
<ZENITH_ANGLE unit="deg">{recipe.sun[0]}</ZENITH_ANGLE>
<AZIMUTH_ANGLE unit="deg">{recipe.sun[1]}</AZIMUTH_ANGLE>
</Mean_Sun_Angle>
<Mean_Viewing_Incidence_Angle bandId="0"><ZENITH_ANGLE unit="deg">4.5</ZENITH_ANGLE></Mean_Viewing_Incidence_Angle>
</Tile_Angles>
</n1:Geometric_Info>
</n1:Level-{digit}_Tile_ID>
"""


def _time(sensed: datetime) -> str:
    return sensed.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
