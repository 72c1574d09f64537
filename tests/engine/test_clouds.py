import numpy as np
import pytest

from s2change_plugin.engine.clouds import BANDS, REACH, can_test, spectral_clouds
from s2change_plugin.engine.errors import BandsUnknown
from s2change_plugin.engine.validity import Quality

# Top-of-atmosphere reflectance in B03, B04, B11.
CLOUD = (0.60, 0.58, 0.46)
THIN_CLOUD = (0.21, 0.19, 0.24)
SNOW = (0.80, 0.82, 0.08)
GROUND = {
    "vegetation": (0.096, 0.064, 0.159),
    "clear water": (0.083, 0.058, 0.027),
    "turbid water": (0.180, 0.160, 0.018),
    "meadow": (0.110, 0.094, 0.210),
    "bare soil": (0.213, 0.252, 0.352),
    "desert": (0.30, 0.38, 0.50),
    "wet salt": (0.420, 0.450, 0.190),
    "asphalt": (0.097, 0.092, 0.128),
}
FIELD = GROUND["vegetation"]


def scene(size: int = 120, ground: tuple[float, ...] = FIELD) -> np.ndarray:
    return np.tile(np.array(ground, np.float32)[:, None, None], (1, size, size))


def disk(size: int, row: float, col: float, radius: float) -> np.ndarray:
    rows, cols = np.indices((size, size))
    return np.hypot(rows - row, cols - col) <= radius


def paint(image: np.ndarray, where: np.ndarray | tuple[slice, slice], colour: tuple[float, ...]) -> None:
    for layer, value in zip(image, colour, strict=True):
        layer[where] = value


@pytest.mark.parametrize("colour", [CLOUD, THIN_CLOUD])
def test_a_cloud_is_found_in_its_place(colour: tuple[float, ...]) -> None:
    image = scene()
    cloud = disk(120, 60, 50, 20)
    paint(image, cloud, colour)

    codes = spectral_clouds(image, BANDS)

    assert codes.dtype == np.uint8
    # Its thin rim, 8 pixels wide, is no longer bright enough for the test and goes with it.
    assert not codes[~disk(120, 60, 50, 28.5)].any()
    assert (codes[disk(120, 60, 50, 26)] == Quality.CLOUD).all()


@pytest.mark.parametrize("row", range(40, 46))
@pytest.mark.parametrize("size", [97, 100])
def test_the_smallest_cloud_is_found_wherever_it_lies(row: int, size: int) -> None:
    image = scene(size)
    for col in (row, 100 - row):
        image[:] = scene(size)
        paint(image, disk(size, row, col, 8.6), CLOUD)
        assert spectral_clouds(image, BANDS)[row, col] == Quality.CLOUD


@pytest.mark.parametrize("colour", [CLOUD, SNOW])
@pytest.mark.parametrize("row", [20, 0])
def test_a_bright_roof_is_kept_whatever_its_colour_and_place(colour: tuple[float, ...], row: int) -> None:
    image = scene()
    paint(image, (slice(row, row + 16), slice(30, 80)), colour)  # 160 m × 500 m

    assert (spectral_clouds(image, BANDS) == Quality.OBSERVED).all()


def test_roofs_in_rows_do_not_add_up_to_a_cloud() -> None:
    image = scene()
    for row in range(5, 110, 12):
        paint(image, (slice(row, row + 10), slice(10, 110)), CLOUD)

    assert (spectral_clouds(image, BANDS) == Quality.OBSERVED).all()


def test_snow_is_snow_and_no_cloud() -> None:
    image = scene(ground=SNOW)

    codes = spectral_clouds(image, BANDS)

    assert not (codes == Quality.CLOUD).any()
    assert (codes[10:-10, 10:-10] == Quality.SNOW).all()


def test_a_cloud_over_snow_is_a_cloud() -> None:
    image = scene(ground=SNOW)
    paint(image, disk(120, 60, 60, 25), CLOUD)

    codes = spectral_clouds(image, BANDS)

    assert codes[60, 60] == Quality.CLOUD
    assert codes[60, 100] == Quality.SNOW


@pytest.mark.parametrize("name", GROUND)
def test_ordinary_ground_is_clear(name: str) -> None:
    assert (spectral_clouds(scene(ground=GROUND[name]), BANDS) == Quality.OBSERVED).all()


@pytest.mark.parametrize("band", range(3))
def test_nodata_stays_observed_even_beside_a_cloud(band: int) -> None:
    image = scene(ground=CLOUD)
    image[band, :, 60:] = np.nan

    codes = spectral_clouds(image, BANDS)

    assert (codes[:, 60:] == Quality.OBSERVED).all()
    assert codes[60, 40] == Quality.CLOUD


def test_saturated_pixels_do_not_tear_a_cloud_apart() -> None:
    image = scene(ground=CLOUD)
    image[:, 50:54, 50:70] = np.inf

    with np.errstate(all="raise"):
        codes = spectral_clouds(image, BANDS)

    assert (codes[20:-20, 20:-20] == Quality.CLOUD).all()


def test_a_window_with_its_margin_gives_what_the_whole_gives() -> None:
    rng = np.random.default_rng(4)
    size = 200
    image = scene(size)
    for _ in range(40):
        blob = disk(size, *rng.uniform(0, size, 2), rng.uniform(4, 22))
        paint(image, blob, (CLOUD, THIN_CLOUD, SNOW)[rng.integers(3)])
    image[:, 90:95, 30:60] = np.nan
    whole = spectral_clouds(image, BANDS)

    assert {Quality.OBSERVED, Quality.CLOUD, Quality.SNOW} <= set(np.unique(whole))
    for row in range(REACH, size - REACH - 24, 24):
        for col in range(REACH, size - REACH - 24, 24):
            part = spectral_clouds(image[:, row - REACH : row + 24 + REACH, col - REACH : col + 24 + REACH], BANDS)
            np.testing.assert_array_equal(part[REACH:-REACH, REACH:-REACH], whole[row : row + 24, col : col + 24])


def test_bands_are_taken_by_name() -> None:
    image = scene()
    paint(image, disk(120, 60, 60, 30), THIN_CLOUD)
    shuffled = np.stack([image[2], image[1], np.zeros_like(image[0]), image[0]])

    np.testing.assert_array_equal(spectral_clouds(shuffled, ("B11", "B04", "B02", "B03")), spectral_clouds(image, BANDS))


def test_a_stack_without_the_bands_is_refused_by_name() -> None:
    assert can_test(("B02", "B03", "B04", "B08", "B11"))
    assert not can_test(("B02", "B03", "B04", "B08"))
    with pytest.raises(BandsUnknown, match="B11, and there are B02, B03, B04"):
        spectral_clouds(scene(), ("B02", "B03", "B04"))
