from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from threading import Barrier, current_thread
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
import torch
from rasterio.windows import Window

from s2change_plugin.engine import detect as change
from s2change_plugin.engine import outputs
from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.blocks import BlockCache
from s2change_plugin.engine.card import SHIPPED, ModelCard, find_card
from s2change_plugin.engine.classical import fit_predictor
from s2change_plugin.engine.detect import DetectOptions, Predictor, detect, fitted, predicted
from s2change_plugin.engine.errors import OutputError
from s2change_plugin.engine.folded import FoldedNet
from s2change_plugin.engine.grid import slices_in
from s2change_plugin.engine.model import Model, load_model
from s2change_plugin.engine.outputs import to_levels, to_mask
from s2change_plugin.engine.pair import Pair, PairOptions, PairWindow, open_pair
from s2change_plugin.engine.reach import halo
from s2change_plugin.engine.scene import open_scene
from s2change_plugin.engine.unet import ChangeNet
from tests.conftest import textured, write_stack
from training.products import write_product


@pytest.fixture(params=[(), (2, 2), (1, 2)], ids=["pixels", "cells", "both"])
def model(request: pytest.FixtureRequest, ground: np.ndarray) -> Model:
    """Random weights that are all positive, so that nothing cancels and every pixel of the halo counts; spread over 0–1."""
    torch.manual_seed(0)
    cells: tuple[int, ...] = request.param
    network = ChangeNet(TEN_BANDS, ("dates", "difference"), 4, 3, cells).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.weight.data.abs_().mul_(3)
    dates = [torch.from_numpy(textured(10, 288, 336, seed).astype(np.float32) / 500 - 4)[None] for seed in (1, 2)]
    for one in network.networks:
        with torch.no_grad():
            low, high = np.quantile(one(*dates, dates[1] - dates[0]).numpy(), (0.05, 0.95))
        one.head.weight.data *= 8 / (high - low)
        one.head.bias.data = (one.head.bias.data - low) * 8 / (high - low) - 4
    card = ModelCard(
        "random",
        TEN_BANDS,
        ("dates", "difference"),
        4,
        3,
        (0.2,) * 10,
        (0.05,) * 10,
        {"f1": 0.5},
        "none",
        "nothing",
        halo=halo(3, cells),
        view_cells=cells,
    )
    return Model(card, network, "cpu", "float32")


@pytest.fixture
def pair(tmp_path: Path, ground: np.ndarray) -> Iterator[Pair]:
    """Dates on two grids, with nodata in both."""
    later = textured(10, 310, 350, 2)
    first = ground.copy()
    first[:, :20, :70], later[:, 200:260, 150:180] = 0, 0
    before = open_scene(str(write_stack(tmp_path / "before.tif", first)))
    after = open_scene(str(write_stack(tmp_path / "after.tif", later, origin=(499963, 5000047))))
    with open_pair(before, after, TEN_BANDS, PairOptions(register=False)) as opened:
        yield opened


@pytest.fixture(params=["unet", "cva", "irmad", "pca"])
def predictor(request: pytest.FixtureRequest, model: Model, pair: Pair) -> Predictor:
    """Each of the methods."""
    before, after = ([getattr(sample, side) for sample in pair.samples] for side in ("before", "after"))
    if request.param == "unet":
        return model.for_pair(before, after)
    return fit_predictor(request.param, before, after, pair.bands)


class Quiet:
    """Events that nobody listens to."""

    def started(self, workdir: str) -> None:
        pass

    def progress(self, stage: str, items: Sequence) -> Iterator:
        yield from items

    def message(self, text: str, level: str = "info") -> None:
        pass

    def result(self, values: dict, summary: str) -> None:
        pass


def read_layer(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read(1)


def stored(seen: PairWindow, probability: np.ndarray) -> np.ndarray:
    return to_levels(probability, seen.quality)


def mosaic(pair: Pair, predictor: Predictor, size: int, area: Window | None = None) -> np.ndarray:
    """Stored probability of an area, put together from its windows."""
    area = area or pair.grid.window
    whole = np.full((int(area.height), int(area.width)), 254, np.uint8)
    for window, levels in predicted(pair, predictor, area, size, iter, stored):
        whole[slices_in(window, area)] = levels
    return whole


def test_the_result_does_not_depend_on_the_window_size(pair: Pair, predictor: Predictor) -> None:
    whole = mosaic(pair, predictor, 512).astype(int)
    assert np.ptp(whole[whole != 255]) > 10, "a flat answer would prove nothing"
    for size in (40, 96, 200):
        parts = mosaic(pair, predictor, size).astype(int)
        assert ((whole == 255) == (parts == 255)).all()
        # Sums in another order may round to the neighbouring step of 0.004.
        assert np.abs(whole - parts).max() <= 1
        assert (whole != parts).mean() < 1e-2


def test_the_result_does_not_depend_on_the_number_of_threads(
    pair: Pair, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for threads in (1, 3):
        monkeypatch.setattr("s2change_plugin.engine.threads.cores", lambda count=threads: count)
        found.append(mosaic(pair, predictor, 96))
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", SHIPPED)
def test_in_bfloat16_the_models_that_ship_say_the_same_in_windows_of_any_size(tmp_path: Path, name: str) -> None:
    """Within what bfloat16 is allowed to differ from float32 by."""
    card = find_card(name)
    ground = textured(len(card.bands), 300, 340, 1)
    later = ground.copy()
    later[:, 100:160, 100:180] += 1500
    if "B10" in card.bands:
        for date in (ground, later):
            date[card.bands.index("B10")] = np.random.default_rng(0).integers(8, 20, date.shape[1:])
    scenes = [open_scene(str(write_stack(tmp_path / f"{i}.tif", date, card.bands))) for i, date in enumerate((ground, later))]
    with open_pair(*scenes, card.bands, PairOptions(register=False)) as opened:
        sampled = ([getattr(sample, side) for sample in opened.ground] for side in ("before", "after"))
        predictor = load_model(name, "cpu", "bfloat16").for_pair(*sampled)
        whole, parts = (mosaic(opened, predictor, size).astype(int) for size in (512, 96))
    assert np.ptp(whole) > 50, "a flat answer would prove nothing"
    mask, other = (to_mask(levels, predictor.threshold) for levels in (whole, parts))
    moved = mask != other
    assert moved.sum() <= 0.01 * (mask == 1).sum()
    assert (np.abs(whole - parts)[moved] <= 0.02 / 0.004).all()
    assert (mask == 1).sum() > 1000


def test_a_window_that_is_too_much_for_the_memory_is_predicted_in_parts_with_the_same_result(
    pair: Pair, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = model.for_pair(*([getattr(sample, side) for sample in pair.samples] for side in ("before", "after")))
    whole, asked = mosaic(pair, predictor, 512).astype(int), list[tuple[int, int]]()

    class Small(FoldedNet):
        """Runs out of memory of patches of more than 200² pixels."""

        def forward(self, laid_out: Sequence[torch.Tensor]) -> torch.Tensor:
            height, width = (side * self.views[0][1] for side in laid_out[0].shape[2:])
            if height * width > 200**2:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            asked.append((height, width))
            return super().forward(laid_out)

    monkeypatch.setattr("s2change_plugin.engine.model.FoldedNet", Small)
    short = replace(model).for_appearance(predictor.appearance)
    parts = mosaic(pair, short, 512).astype(int)
    assert len(asked) > 4
    assert np.abs(whole - parts).max() <= 1
    assert (whole != parts).mean() < 1e-2


def test_memory_that_is_too_short_for_the_smallest_part_of_a_window_ends_the_run(
    pair: Pair, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(FoldedNet):
        def forward(self, laid_out: Sequence[torch.Tensor]) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr("s2change_plugin.engine.model.FoldedNet", Full)
    predictor = model.for_pair(*([getattr(sample, side) for sample in pair.samples] for side in ("before", "after")))
    with pytest.raises(MemoryError, match=r"2\.00 GiB"):
        mosaic(pair, predictor, 512)


def test_a_raster_too_wide_for_its_blocks_to_be_held_is_walked_in_stripes_with_the_same_result(
    pair: Pair, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = mosaic(pair, predictor, 64)
    monkeypatch.setattr(Pair, "widest", 130)
    np.testing.assert_array_equal(mosaic(pair, predictor, 64), whole)
    order = [window for window, _ in predicted(pair, predictor, pair.grid.window, 64, iter, stored)]
    assert [int(window.col_off) // 128 for window in order] == sorted(int(window.col_off) // 128 for window in order)


def test_the_blocks_of_a_pair_are_decoded_once_and_forgotten_behind_the_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interpolated ones too: the later date lies half a pixel off."""
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    before = open_scene(str(write_stack(tmp_path / "a.tif", textured(10, 1600, 1100, 1), **tiles)))
    after = open_scene(str(write_stack(tmp_path / "b.tif", textured(10, 1600, 1100, 2), origin=(500005, 5000005), **tiles)))
    decoded, held = list[tuple[str, int, int]](), list[int]()
    with open_pair(before, after, TEN_BANDS, PairOptions(register=False, clouds="none")) as opened:
        opened._blocks._parts.clear()
        decode = BlockCache._decoded

        def counted(self: BlockCache, part: Any) -> np.ndarray:
            if part not in self._parts:
                decoded.append((part.path, *part.place[:2]))
            held.append(len(self._parts))
            return decode(self, part)

        monkeypatch.setattr(BlockCache, "_decoded", counted)
        monkeypatch.setattr("s2change_plugin.engine.threads.cores", lambda: 1)
        dates = ([getattr(sample, side) for sample in opened.samples] for side in ("before", "after"))
        mosaic(opened, fit_predictor("cva", *dates, opened.bands), 256)
        assert not opened._blocks._parts, "what comes after the windows has the memory"
    assert sorted(decoded) == sorted(set(decoded))
    assert len(decoded) == 2 * 4 * 3
    # Two rows of three for each date, one of those before, and what the windows ahead have begun.
    assert max(held) <= 2 * 3 * 3 + 2
    assert held[-1] < 2 * 4 * 3


def test_each_block_of_a_products_jpeg_2000_files_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first sample to the last window, each band in blocks of its own resolution."""
    products = []
    for day, seed in ((20, 1), (25, 2)):
        ground = textured(13, 480, 480, seed) / 10000
        sensed = datetime(2021, 8, day, 10, 55, tzinfo=timezone.utc)
        products.append(open_scene(str(write_product(tmp_path, ground, sensed=sensed, baseline="03.01", offset=None))))
    decoded: list[Any] = []
    read = BlockCache._read
    monkeypatch.setattr(BlockCache, "_read", lambda self, part: (decoded.append(part), read(self, part))[1])
    # Else small blocks are decoded several at once.
    monkeypatch.setattr("s2change_plugin.engine.blocks._SMALLEST", 128)
    with open_pair(*products, TEN_BANDS, PairOptions(register=False, clouds="none")) as opened:
        dates = ([getattr(sample, side) for sample in opened.samples] for side in ("before", "after"))
        mosaic(opened, fit_predictor("cva", *dates, opened.bands), 128)
    assert len(set(decoded)) == len(decoded)
    blocks = 0
    for path in {scene.bands[name].path for scene in products for name in TEN_BANDS}:
        with rasterio.open(path) as raster:
            blocks += len(list(raster.block_windows(1)))
    assert len(decoded) == blocks > 2 * len(TEN_BANDS)


def test_what_predicts_is_fitted_to_each_pixel_once_where_samples_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes = [open_scene(str(write_stack(tmp_path / f"{seed}.tif", textured(10, 300, 340, seed)))) for seed in (1, 2)]
    monkeypatch.setattr("s2change_plugin.engine.classical._MOST_PIXELS", 10**6)
    with open_pair(*scenes, TEN_BANDS, PairOptions(register=False, clouds="none")) as opened:
        assert sum(sample.quality.size for sample in opened.samples) > 300 * 340
        assert sum(sample.quality.size for sample in opened.ground) == 300 * 340
        assert fitted("cva", None, opened).pixels == 300 * 340


def test_strips_as_wide_as_the_raster_are_decoded_once_though_blocks_may_take_less_than_a_row_of_windows_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strips of a row are how GDAL writes a GeoTIFF where nobody says otherwise."""
    scenes = [open_scene(str(write_stack(tmp_path / f"{seed}.tif", textured(10, 1600, 1100, seed)))) for seed in (1, 2)]
    monkeypatch.setattr("s2change_plugin.engine.pair.BlockCache", lambda opened: BlockCache(opened, 2 << 20))
    monkeypatch.setattr("s2change_plugin.engine.pair.BUDGET", 2 << 20)
    monkeypatch.setattr("s2change_plugin.engine.threads.cores", lambda: 1)
    decoded: list[Any] = []
    with open_pair(*scenes, TEN_BANDS, PairOptions(register=False, clouds="none")) as opened:
        opened._blocks._parts.clear()
        read = BlockCache._read
        monkeypatch.setattr(BlockCache, "_read", lambda self, part: (decoded.append(part), read(self, part))[1])
        dates = ([getattr(sample, side) for sample in opened.samples] for side in ("before", "after"))
        mosaic(opened, fit_predictor("cva", *dates, opened.bands), 256)
        # Two dates, ten bands of two bytes.
        assert opened.block_bytes(opened.grid.width) == 2 * 20 * 1100 * 1280
        assert opened.block_bytes(100) == opened.block_bytes(opened.grid.width), "strips come whole"
    assert {(part.place[0], part.place[2]) for part in decoded} == {(0, 1100)}
    assert sum(part.place[3] for part in decoded) == 2 * 1600
    assert max(part.place[2] * part.place[3] for part in decoded) <= 512**2


def test_what_was_decoded_to_look_at_the_pair_is_not_decoded_again_where_memory_does_not_keep_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256}
    dates = {
        side: str(write_stack(tmp_path / f"{side}.tif", textured(10, 1100, 1100, seed), **tiles))
        for side, seed in (("before", 1), ("after", 2))
    }
    asked, set_aside, read = list[tuple[Any, bool]](), list[Path](), BlockCache._read

    def counted(self: BlockCache, part: Any) -> np.ndarray:
        asked.append((part, part in self._aside[1]))
        set_aside.extend(tmp_path.glob(".s2change-*"))
        return read(self, part)

    monkeypatch.setattr(BlockCache, "_read", counted)
    monkeypatch.setattr("s2change_plugin.engine.pair._SAMPLE_BLOCKS", 0)
    detect(DetectOptions(**dates, mask=tmp_path / "mask.tif", method="cva"), Quiet())
    decoded = [part for part, aside in asked if not aside]
    assert len(decoded) == len(set(decoded)) == 2 * 3 * 3
    assert any(aside for _, aside in asked)
    # It lies in the run's own folder, which is gone.
    assert set_aside
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after.tif", "before.tif", "mask.tif"]


def test_windows_are_read_by_several_threads_at_a_time_and_answered_in_their_order(
    pair: Pair, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2change_plugin.engine.threads.cores", lambda: 3)
    read, together, names = pair.read, Barrier(3, timeout=30), set[str]()

    def meet(window: Window) -> PairWindow:
        if len(names) < 3:
            names.add(current_thread().name)
            together.wait()
        return read(window)

    monkeypatch.setattr(pair, "read", meet)
    predictor = model.for_pair(*([getattr(sample, side) for sample in pair.samples] for side in ("before", "after")))
    windows = [window for window, _ in predicted(pair, predictor, pair.grid.window, 96, iter, stored)]
    assert len(names) == 3
    assert windows == sorted(windows, key=lambda window: (window.row_off, window.col_off))


@pytest.mark.parametrize(("small", "sides"), [(48, [48, 48, 48, 48, 96]), (49, [96, 96, 96, 52, 96])])
def test_the_first_window_is_cut_so_that_a_run_is_soon_seen_to_go_on_where_its_quarters_are_not_small(
    pair: Pair, predictor: Predictor, monkeypatch: pytest.MonkeyPatch, small: int, sides: list[int]
) -> None:
    monkeypatch.setattr("s2change_plugin.engine.detect.SMALL", small)
    windows = [window for window, _ in predicted(pair, predictor, pair.grid.window, 96, iter, stored)]
    assert [window.width for window in windows[:5]] == sides
    assert sum(window.width * window.height for window in windows) == pair.grid.width * pair.grid.height


@pytest.mark.parametrize("city", ["hongkong", "beihai"])
@pytest.mark.parametrize("name", SHIPPED)
def test_on_real_pairs_bfloat16_moves_few_pixels_and_those_at_the_threshold_alone(
    oscd: Path, tmp_path: Path, name: str, city: str
) -> None:
    found = {}
    for precision in ("float32", "bfloat16"):
        outputs = {layer: tmp_path / f"{precision}-{layer}.tif" for layer in ("mask", "probability")}
        dates = {side: str(oscd / city / f"imgs_{number}") for side, number in (("before", 1), ("after", 2))}
        detect(DetectOptions(**dates, **outputs, model=name, precision=precision), Quiet())
        found[precision] = read_layer(outputs["probability"])
    thresholds = find_card(name).thresholds
    assert set(thresholds) == {"f1", "precision", "recall"}
    for threshold in thresholds.values():
        mask, other = (to_mask(levels, threshold) for levels in found.values())
        moved = mask != other
        assert moved.sum() <= 0.01 * (mask == 1).sum()
        assert (np.abs(found["float32"].astype(int) - found["bfloat16"])[moved] <= 0.02 / 0.004).all()
        assert (mask == 1).sum() > 100


def test_an_area_is_the_exact_crop_of_the_whole(pair: Pair, predictor: Predictor) -> None:
    area = Window(33, 71, 150, 120)
    np.testing.assert_array_equal(mosaic(pair, predictor, 96, area), mosaic(pair, predictor, 96)[71:191, 33:183])


def test_unseen_ground_is_not_observed_and_every_pixel_is_answered(pair: Pair, predictor: Predictor) -> None:
    whole = mosaic(pair, predictor, 96)
    assert (whole[:20, :70] == 255).all()
    assert (whole != 254).all()
    assert 0.9 < (whole != 255).mean() < 1


def test_a_window_without_observed_ground_does_not_go_through_the_network(
    tmp_path: Path, ground: np.ndarray, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ground.copy()
    first[:, :256] = 0
    before = open_scene(str(write_stack(tmp_path / "a.tif", first)))
    after = open_scene(str(write_stack(tmp_path / "b.tif", ground)))
    calls = []

    class Counted(FoldedNet):
        def forward(self, shown: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return super().forward(shown)

    monkeypatch.setattr("s2change_plugin.engine.model.FoldedNet", Counted)
    with open_pair(before, after, TEN_BANDS, PairOptions(register=False)) as opened:
        sample = opened.samples[-1]
        whole = mosaic(opened, model.for_pair([sample.before], [sample.after]), 128)
    assert (whole[:256] == 255).all()
    # Three windows of 128 across, one row of windows with ground.
    assert len(calls) == 3


def test_nothing_loads_beside_the_trial_by_which_the_time_is_estimated(
    tmp_path: Path, ground: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    dates = {
        side: str(write_stack(tmp_path / f"{side}.tif", date)) for side, date in (("before", ground), ("after", ground[::-1]))
    }
    done = []

    def noted(what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *given: (done.append((what, *given)[:2]), call(*given))[1]

    monkeypatch.setattr(change, "estimate_run", noted("estimated", change.estimate_run))
    monkeypatch.setattr(change, "import_module", noted("loaded", change.import_module))
    monkeypatch.setattr(change, "predicted", noted("predicted", change.predicted))
    detect(DetectOptions(**dates, mask=tmp_path / "m.tif", polygons=tmp_path / "c.gpkg", method="cva"), Quiet())
    # What the registration needs comes before, in its time; what the end needs, after the first window.
    assert [what if what != "loaded" else name for what, name in done] == [
        "scipy.optimize",
        "estimated",
        "predicted",
        ".polygons",
    ]


@pytest.mark.parametrize(
    "wrong", [{"threshold": 1.2}, {"bounds": (1, 1, 0, 2)}, {"before_bands": "B02,B77"}, {"after_bands": "B02,B02"},
        {"method": "guess"}, {"method": "cva", "model": "standin"}, {"model": ""}, {"goal": "kappa"}, {"goal": "recall", "threshold": 0.5},
        {"goal": "precision", "method": "irmad"}, {"before_crs": "EPSG:99"}, {"after_crs": "here"}, {"bounds_crs": "EPSG:99"}],
)  # fmt: skip
def test_options_that_cannot_be_meant_are_refused(wrong: dict) -> None:
    with pytest.raises(
        ValueError,
        match=r"threshold|bounds|B77|B02|must be one of unet, cva|leave --model out|model has no name|'kappa' and must be one of f1|irmad has one threshold and none|is not a CRS",
    ):
        DetectOptions(before="a.tif", after="b.tif", mask=Path("m.tif"), **wrong)


@pytest.mark.parametrize(
    "wrong", [{"mask": Path("m.png")}, {"polygons": Path("c.shp")}, {"quality": Path("q")}, {"record": Path("r.txt")}]
)
def test_a_name_that_says_another_format_is_refused(wrong: dict) -> None:
    with pytest.raises(OutputError, match=r"is no name for a .*: let it end in \.(tif|gpkg|json)"):
        DetectOptions(**{"before": "a.tif", "after": "b.tif", "mask": Path("m.tif")} | wrong)


@pytest.mark.parametrize("kind", ["folder", "vrt", "zip"])
def test_what_lies_behind_an_input_is_not_replaced(tmp_path: Path, ground: np.ndarray, kind: str) -> None:
    (tmp_path / "bands").mkdir()
    paths = [
        write_stack(tmp_path / "bands" / f"x_{name}.tif", ground[index, None], None) for index, name in enumerate(("B02", "B03"))
    ]
    target, before = paths[1], tmp_path / "bands"
    if kind == "vrt":
        before = tmp_path / "both.vrt"
        before.write_text(_VRT.format(*paths))
    if kind == "zip":
        target = tmp_path / "bands.tif"
        with ZipFile(target.with_suffix(".zip"), "w") as archive:
            archive.write(paths[0], "x.tif")
            archive.write(paths[1], "y.tif")
        (tmp_path / "both.vrt").write_text(_VRT.format(*(f"/vsizip/{target.with_suffix('.zip')}/{name}.tif" for name in "xy")))
        before, target = tmp_path / "both.vrt", target.with_suffix(".zip")
    scene = open_scene(str(before), None if kind == "folder" else ("B02", "B03"))
    with pytest.raises(OutputError, match="is an input"):
        outputs.require_not_read([scene], [tmp_path / "new.tif", target])


_VRT = """<VRTDataset rasterXSize="340" rasterYSize="300"><SRS>EPSG:32631</SRS><GeoTransform>500000,10,0,5000000,0,-10</GeoTransform>
<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename>{}</SourceFilename></SimpleSource></VRTRasterBand>
<VRTRasterBand dataType="UInt16" band="2"><SimpleSource><SourceFilename>{}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""


def test_a_model_is_not_replaced_by_a_result() -> None:
    for name in ("mine.json", "sub/../mine.json"):
        with pytest.raises(OutputError, match="is an input"):
            DetectOptions(before="a.tif", after="b.tif", mask=Path("m.tif"), model="mine.safetensors", record=Path(name))


def test_outputs_may_not_meet_each_other_or_an_input(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="same file name"):
        DetectOptions(before="a.tif", after="b.tif", mask=Path("m.tif"), quality=Path("./m.tif"))
    with pytest.raises(OutputError, match="is an input"):
        DetectOptions(before="a.tif", after="b.tif", mask=Path("b.tif"))
