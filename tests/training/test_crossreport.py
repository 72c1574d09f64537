import json
import re
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from s2change_plugin.engine.bands import TEN_BANDS
from s2change_plugin.engine.card import find_card
from s2change_plugin.engine.classical import fit_predictor
from s2change_plugin.engine.errors import S2ChangeError
from s2change_plugin.engine.labelled import city_names
from s2change_plugin.engine.outputs import to_levels, to_mask
from s2change_plugin.engine.scores import AGREEMENT_COLOURS, NOT_COUNTED, Agreement, Confusion, confusion
from tests.training.conftest import ORIGIN, write_record
from training.__main__ import main
from training.calibrate import CALIBRATIONS, LEVELS, beta_curve
from training.classical import METHODS
from training.crosspictures import Line, city_picture, curves_picture, reliability_picture
from training.crossreport import read_rival
from training.crossvalidate import crossvalidate, folds_of
from training.failures import KINDS
from training.options import FitOptions
from training.prepare import City, read_city

TINY = ["epochs=2", "batch=4", "patch=32", "width=4", "depth=2", "learning_rate=0.02", "ema=0.8"]
OPTIONS = FitOptions(epochs=2, batch=4, patch=32, width=4, depth=2, learning_rate=0.02, ema=0.8)


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cities of the fixture lie on one spot."""
    monkeypatch.setattr("training.crossvalidate.centres", lambda data: {name: (i, 0) for i, name in enumerate(city_names(data))})


def run(data: Path, output: Path, *more: str, seeds: int = 1, folds: int = 2) -> Any:
    settings = [part for setting in TINY for part in ("--set", setting)]
    command = ["crossvalidate", str(data), "--output", str(output), "--folds", str(folds), "--seeds", str(seeds)]
    return CliRunner().invoke(main, [*command, *settings, *more])


def pictures(page: str) -> list[np.ndarray]:
    return [imread(BytesIO(b64decode(text)), kind) for kind, text in re.findall(r'src="data:image/(\w+);base64,([^"]+)"', page)]


def test_the_command_writes_a_page_that_holds_all_it_needs_and_the_same_as_json(data: Path, tmp_path: Path) -> None:
    done = run(data, tmp_path / "cv", seeds=2)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "cv" / "report.html").read_text("utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    # Two plots, and a picture of each city.
    assert len(pictures(page)) == 2 + len(city_names(data))
    values = json.loads((tmp_path / "cv" / "report.json").read_text("utf-8"))
    scores = json.loads((tmp_path / "cv" / "scores.json").read_text("utf-8"))
    own = values["methods"][0]
    assert own["l1c"]["mean"] == scores["l1c"]["mean"]
    assert own["seeds"] == 2
    assert values["card"] == scores["card"]
    assert "2 seeds. Level-1C. blocks that were painted.</p>" in page
    assert "Both dates in true colour with one stretch." in page
    offset, rising, falling = (f"{value:.3f}".replace("-", "−") for value in scores["card"]["calibration"])
    assert f"logit = {offset} + {rising} ln p − {falling} ln (1 − p)" in page
    for variant in ("l1c", "l2a"):
        mean, deviation = scores[variant]["mean"]["f1"], scores[variant]["deviation"]["f1"]
        assert f'{mean:.3f} <span class="spread">± {deviation:.3f}</span>' in page
    for name in city_names(data):
        assert f"<h3>{name} " in page
    assert values["failures"] == scores["failures"]
    fails = page[page.index("<h2>Where it fails</h2>") : page.index("<h2>What it looks like</h2>")]
    for kind, one in scores["failures"]["kinds"].items():
        name = KINDS[kind][0].upper() + KINDS[kind][1:]
        row = re.search(rf"<tr><td>{re.escape(name)}</td>.*?</tr>", fails)
        assert row
        assert f">{one['precision']:.3f}<" in row[0]
        assert f"{100 * one['share_of_false_change']:.1f} %</td></tr>" in row[0]
    assert f"{100 * scores['failures']['other']['called_change']:.0f} % of that is called change" in fails


def test_a_run_that_was_scored_by_an_earlier_version_makes_no_card_and_is_told_how_to_mend_it(data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "cv").exit_code == 0
    path = tmp_path / "cv" / "scores.json"
    scores = json.loads(path.read_text("utf-8"))
    del scores["card"]["reliability"]["skill_over_all"]
    path.write_text(json.dumps(scores), "utf-8")
    command = ["train", str(data), "--output", str(tmp_path / "run"), "--crossvalidated", str(tmp_path / "cv")]
    done = CliRunner().invoke(main, command)
    assert (done.exit_code, "Give its crossvalidate command once more" in done.output) == (1, True)
    assert run(data, tmp_path / "cv").exit_code == 0
    assert CliRunner().invoke(main, command).exit_code == 0


def test_a_run_that_looks_at_b10_says_nothing_of_level_2a(data: Path, tmp_path: Path) -> None:
    for path in [*data.glob("*/before.tif"), *data.glob("*/after.tif")]:
        with rasterio.open(path, "r+") as raster:
            # Clear air: in B10 nothing of the ground is seen.
            raster.write(np.random.default_rng(10).integers(8, 20, raster.shape).astype(raster.dtypes[9]), 10)
            raster.set_band_description(10, "B10")
    for name, bands in (("ten", "B02,B03,B04,B08"), ("cirrus", "B02,B03,B04,B08,B10")):
        imitated = "B10" not in bands
        done = run(data, tmp_path / name, "--set", f"bands={bands}")
        assert done.exit_code == 0, done.output
        page = (tmp_path / name / "report.html").read_text("utf-8")
        assert [text in page for text in ("F1, L2A simulated", "as Level-2A might show them")] == [imitated, imitated]
        assert ("none has B10" in page) != imitated
        # Of each table, all rows are as wide as the first.
        for table in re.findall(r"<table>.*?</table>", page, re.DOTALL):
            widths = {len(re.findall(r"<t[hd]", row)) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)}
            assert len(widths) == 1, table


@pytest.mark.parametrize(("bands", "shown"), [("B04,B08", "B04, B08, B04"), ("B08", "B08, B08, B08")])
def test_networks_of_fewer_than_three_bands_have_their_report(data: Path, tmp_path: Path, bands: str, shown: str) -> None:
    done = run(data, tmp_path / "cv", "--set", f"bands={bands}")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "cv" / "report.html").read_text("utf-8")
    assert len(pictures(page)) == 2 + len(city_names(data))
    assert f"Both dates with {shown} as red, green, blue with one stretch." in page


def test_what_is_level_2a_already_is_not_called_an_imitation(data: Path, tmp_path: Path) -> None:
    write_record(data, dict.fromkeys(city_names(data), replace(ORIGIN, level="L2A")))
    done = run(data, tmp_path / "cv")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "cv" / "report.html").read_text("utf-8")
    assert ". Level-2A. " in page
    assert "L2A seed 0" in done.output
    assert [text for text in ("simulated", "imitated", "L1C seed", "as Level-2A might") if text in page + done.output] == []


def test_each_kind_of_calibration_has_a_line_of_its_own_colour() -> None:
    lines = {kind: [[(0.1, 0.1), (0.9, 0.9 - step / 5)]] for step, kind in enumerate(CALIBRATIONS)}

    def colours(kinds: dict[str, Any]) -> Counter[tuple[float, ...]]:
        pixels = imread(BytesIO(reliability_picture(kinds)), "png")[..., :3].reshape(-1, 3).round(2)
        return Counter(map(tuple, pixels[np.ptp(pixels, axis=1) > 0.3].tolist()))

    each = [colours({kind: lines[kind]}).most_common(1) for kind in lines]
    # As it is, is grey; the others are told apart, and all are there.
    assert [len(one) for one in each] == [0, 1, 1, 1]
    own = {one[0][0] for one in each if one}
    assert len(own) == 3
    assert own <= set(colours(lines))


def drawn(monkeypatch: pytest.MonkeyPatch, picture: Callable[..., Any], *what: Any) -> Any:
    """The axis of a picture, as it is before it becomes bytes."""
    with monkeypatch.context() as patch:
        patch.setattr("training.crosspictures._drawn", lambda figure, kind, dpi: figure)
        figure = picture(*what)
    plt.close(figure)
    return figure.axes[0]


def test_a_calibration_without_a_line_says_so_in_the_legend(monkeypatch: pytest.MonkeyPatch) -> None:
    line = [(0.1, 0.1), (0.9, 0.8)]
    bins = {"none": [line, line], "temperature": [line, []], "beta": [[], []], "isotonic": [line, line]}
    texts = [text.get_text() for text in drawn(monkeypatch, reliability_picture, bins).get_legend().get_texts()]
    assert texts == [
        "none",
        "temperature (1 of 2 seeds)",
        "beta (no line: too few pixels above 0.05)",
        "isotonic",
    ]


def test_all_that_the_precision_recall_plot_draws_is_named_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.array([(0.2, 0.5), (0.8, 0.02)])
    lines = [Line(kind, points, kind, (0.5, 0.02)) for kind in ("own", "rival", "plain")]
    axis = drawn(monkeypatch, curves_picture, lines, {"this run's threshold for recall 0.8": (0.7, 0.02)}, 0.02)
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        "own",
        "rival",
        "plain",
        "everything called change",
        "own threshold (F1 where fitted)",
        "this run's threshold for recall 0.8",
    ]
    # Nothing is written where a line may run; the lines of equal F1 are named at the edge.
    assert {text.get_position()[0] for text in axis.texts} == {1.0}


def test_a_long_legend_covers_no_name_of_a_line_of_equal_f1(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.array([(0.2, 0.5), (0.8, 0.02)])
    lines = [Line(f"rival {number}", points, "rival", (0.5, 0.02)) for number in range(20)]
    axis = drawn(monkeypatch, curves_picture, lines, {}, 0.02)
    axis.figure.draw_without_rendering()
    legend = axis.get_legend().get_window_extent()
    assert legend.y0 < min(text.get_window_extent().y0 for text in axis.texts[1:])
    assert max(text.get_window_extent().x1 for text in axis.texts) < legend.x0


def test_methods_that_find_the_same_are_both_seen_all_along_their_line(monkeypatch: pytest.MonkeyPatch) -> None:
    points, away = np.array([(0.1, 0.5), (0.9, 0.5)]), np.array([(0.1, 0.9), (0.9, 0.9)])
    # As in the report: change vector analysis, IR-MAD, PCA difference.
    lines = [Line(name, one, "plain", (0.5, 0.1)) for name, one in (("cva", points), ("irmad", away), ("pca", points))]
    handles = drawn(monkeypatch, curves_picture, lines, {}, 0.02).get_legend().get_lines()
    below, above = (np.array(to_rgb(handles[nth].get_color())) for nth in (0, 2))
    picture = imread(BytesIO(curves_picture(lines, {}, 0.02)), "png")[..., :3]
    height, width = picture.shape[:2]
    part = picture[int(0.4 * height) : int(0.55 * height), int(0.2 * width) : int(0.4 * width)]
    seen = [(np.abs(part - colour).max(2) < 0.02).any(0) for colour in (below, above)]
    assert seen[0].all(), "the upper line hides the lower one"
    assert 0.2 < seen[1].mean() < 0.8


def test_methods_without_labels_stand_in_the_table_as_their_own_limit_has_it(data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "cv").exit_code == 0
    values = json.loads((tmp_path / "cv" / "report.json").read_text("utf-8"))
    rows = {row["name"]: row["l1c"] for row in values["methods"][1:]}
    assert list(rows) == list(METHODS.values())
    assert (rows["Empty map"]["mean"]["f1"], rows["Empty map"]["mean"]["recall"]) == (0, 0)
    assert rows["Empty map"]["mean"]["pr_auc"] == rows["Empty map"]["mean"]["prevalence"]
    # Blocks that are brighter by 0.3 are far out for any of them.
    for name in ("Change vector analysis", "PCA difference"):
        assert rows[name]["mean"]["recall"] > 0.5
    for method in ("cva", "irmad", "pca"):
        found = Confusion()
        for city in (read_city(data / name, TEN_BANDS) for name in city_names(data)):
            chance = fit_predictor(method, [city.before], [city.after], TEN_BANDS).probability(city.before, city.after)
            found += confusion(to_mask(to_levels(chance, np.zeros_like(city.change)), 0.5), city.change)
        for score in ("f1", "precision", "recall", "iou"):
            assert rows[METHODS[method]]["mean"][score] == pytest.approx(getattr(found, score), abs=1e-4), (method, score)
    # Nothing but scores is kept of them.
    assert {path.name for path in (tmp_path / "cv").iterdir()} == {
        "options.json",
        "scores.json",
        "report.html",
        "report.json",
        "seed-0",
    }


def test_a_goal_out_of_reach_has_no_threshold_and_a_dash_for_what_it_reaches(data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "cv").exit_code == 0
    for path in (tmp_path / "cv").glob("seed-0/*/*.tif"):
        with rasterio.open(path, "r+") as raster:
            raster.write(np.full(raster.shape, 100, np.uint8), 1)
    assert run(data, tmp_path / "cv").exit_code == 0
    card = json.loads((tmp_path / "cv" / "scores.json").read_text("utf-8"))["card"]
    assert card["thresholds"]["precision"] is None
    assert card["thresholds"]["recall"] is not None
    page = (tmp_path / "cv" / "report.html").read_text("utf-8")
    row = re.search(r"<tr><td>precision ≥ 0.8.*?</tr>", page)
    assert row
    assert re.findall(r"<td[^>]*>(.*?)</td>", row[0])[1:] == ["– · –", "–", "–", "–", "–"]


def test_the_threshold_above_a_citys_picture_calls_the_same_pixels_of_the_calibrated_probability(
    data: Path, tmp_path: Path
) -> None:
    assert run(data, tmp_path / "cv").exit_code == 0
    random = np.random.default_rng(0)
    for path in (tmp_path / "cv").glob("seed-0/*/*.tif"):
        with rasterio.open(path, "r+") as raster, rasterio.open(data / path.name.removesuffix(".tif") / "change.tif") as label:
            # It boasts: where it gives 0.5, little changed.
            levels = random.normal(np.where(label.read(1) == 1, 170, 110), 30)
            raster.write(np.clip(levels, 0, 250).astype(np.uint8), 1)
    assert run(data, tmp_path / "cv").exit_code == 0
    scores = json.loads((tmp_path / "cv" / "scores.json").read_text("utf-8"))
    first = scores["l1c"]["seeds"][0]
    page = (tmp_path / "cv" / "report.html").read_text("utf-8")
    for fold, beta, raw in zip(scores["folds"], first["betas"], first["goals"]["f1"]["thresholds"], strict=True):
        for name in fold:
            caption = re.search(rf"<h3>{name} .*threshold ([\d.]+)</span></h3>", page)
            assert caption
            # The caption has three decimals.
            told = float(caption[1])
            assert abs(told - raw) > 0.1
            with rasterio.open(tmp_path / "cv" / "seed-0" / "l1c" / f"{name}.tif") as raster:
                levels = raster.read(1)
            np.testing.assert_array_equal(beta_curve(beta)[levels] > told - 0.0005, to_mask(levels, raw))


def test_one_seed_has_no_spread(data: Path, tmp_path: Path) -> None:
    done = run(data, tmp_path / "cv")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "cv" / "report.html").read_text("utf-8")
    assert "; 1 seed. Level-1C." in page
    assert "<h2>One seed</h2>" in page
    assert [text for text in ("±", "Spread", "L1C mean", "ensemble") if text in page + done.output] == []


def test_another_run_on_the_same_folds_gets_its_own_rows(data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "rival", "--set", "architecture=fc-ef").exit_code == 0
    saved = tmp_path / "rival" / "options.json"
    # As from a time when there was no zoom yet, and something that is no option any more.
    options = {name: value for name, value in json.loads(saved.read_text("utf-8")).items() if name != "zoom"}
    saved.write_text(json.dumps({**options, "gone": 0.1}), encoding="utf-8")
    settings = ("--set", "zoom=0.1", "--set", "view_cells=1,2")
    assert run(data, tmp_path / "cv", *settings, "--against", str(tmp_path / "rival")).exit_code == 0
    values = json.loads((tmp_path / "cv" / "report.json").read_text("utf-8"))
    rival = values["methods"][1]
    assert rival["name"] == "FC-EF (rival)"
    assert "view_cells none, architecture fc-ef, zoom 0.0. " in rival["note"]
    assert rival["l1c"]["mean"] == json.loads((tmp_path / "rival" / "scores.json").read_text("utf-8"))["l1c"]["mean"]
    recall, precision = np.transpose(rival["curve"])
    assert recall[-1] == 1
    assert precision[-1] == pytest.approx(rival["l1c"]["mean"]["prevalence"], abs=1e-4)


def test_what_learned_from_others_is_told_in_report_and_card(data: Path, tmp_path: Path) -> None:
    one, taught, teacher = (tmp_path / name for name in ("one", "taught", "teacher"))
    assert run(data, one, "--set", "views=difference").exit_code == 0
    done = run(data, taught, "--teachers", str(one), "--against", str(one))
    assert done.exit_code == 0, done.output
    values = json.loads((taught / "report.json").read_text("utf-8"))
    lesson = "hat looks at the difference learned from one other"
    assert values["settings"]["teachers"] == f"w{lesson}"
    assert [f"W{lesson}." in method["note"] for method in values["methods"][:2]] == [True, False]
    assert run(data, one, "--set", "views=difference", "--against", str(taught)).exit_code == 0
    told = json.loads((one / "report.json").read_text("utf-8"))["methods"]
    assert [f"W{lesson}." in method["note"] for method in told[:2]] == [False, True]

    def train(output: Path, crossvalidated: Path, *more: str) -> Any:
        command = ["train", str(data), "--output", str(output), "--crossvalidated", str(crossvalidated), *more]
        return CliRunner().invoke(main, command)

    assert train(teacher, one).exit_code == 0
    refused = train(tmp_path / "model", taught)
    assert (refused.exit_code, "had other teachers than this model would: 1 of difference" in refused.output) == (1, True)
    # What was refused can be put right in the same folder.
    done = train(tmp_path / "model", taught, "--teacher", str(teacher))
    assert done.exit_code == 0, done.output
    card = find_card(str(tmp_path / "model" / "model.safetensors"))
    assert f"w{lesson}, fitted to the same cities; 2 folds" in card.protocol
    assert card.trained_on.endswith(f"w{lesson}, trained on the same")
    assert "had other teachers than this model would: none" in train(tmp_path / "two", one, "--teacher", str(teacher)).output


def test_a_run_on_other_folds_is_refused_before_anything_is_fitted(data: Path, tmp_path: Path) -> None:
    assert run(data, tmp_path / "rival").exit_code == 0
    done = run(data, tmp_path / "cv", "--against", str(tmp_path / "rival"), folds=3)
    assert done.exit_code == 1
    assert "other folds or cities" in done.output
    assert not (tmp_path / "cv").exists()


def test_a_run_on_labels_as_they_were_is_refused(data: Path, tmp_path: Path) -> None:
    """Else what it predicted would be scored by labels that its thresholds never met."""
    assert run(data, tmp_path / "rival").exit_code == 0
    split = folds_of(data, 2)
    with rasterio.open(data / "bern" / "change.tif", "r+") as raster:
        change = raster.read(1)
        change[40, 40] ^= 1
        raster.write(change, 1)
    with pytest.raises(S2ChangeError, match="rival is of other data: bern is new, gone or changed since"):
        read_rival(tmp_path / "rival", data, split, OPTIONS)


def test_a_run_that_is_unfinished_or_on_other_pixels_is_refused(data: Path, tmp_path: Path) -> None:
    split = folds_of(data, 2)
    with pytest.raises(S2ChangeError, match="scores.json is missing"):
        read_rival(tmp_path / "none", data, split, OPTIONS)
    crossvalidate(data, tmp_path / "rival", OPTIONS, 2, 1, 1, lambda text: None)
    predicted = tmp_path / "rival" / "seed-0" / "l1c" / "bern.tif"
    with rasterio.open(predicted, "r+") as raster:
        levels = raster.read(1)
        levels[:10] = 255
        raster.write(levels, 1)
        profile = {**raster.profile, "height": 50}
    done = run(data, tmp_path / "cv", "--against", str(tmp_path / "rival"))
    assert done.exit_code == 1
    assert re.search(r"counts 11008 pixels of bern, this run 12288", done.output)
    assert not (tmp_path / "cv").exists(), "nothing was fitted"
    with rasterio.open(predicted, "w", **profile) as smaller:
        smaller.write(levels[:50], 1)
    with pytest.raises(S2ChangeError, match=r"bern on \(50, 128\) pixels, but its label has \(96, 128\)"):
        read_rival(tmp_path / "rival", data, split, OPTIONS)
    predicted.unlink()
    with pytest.raises(S2ChangeError, match="no seed of which all 5 cities are predicted"):
        read_rival(tmp_path / "rival", data, split, OPTIONS)


def test_a_citys_picture_shows_each_kind_of_error_in_its_colour_and_grey_where_nothing_was_seen() -> None:
    side = 100
    image = np.random.default_rng(0).uniform(0.05, 0.3, (3, side, side)).astype(np.float32)
    change, levels = np.zeros((side, side), np.uint8), np.zeros((side, side), np.uint8)
    change[:, 50:], levels[50:] = 1, 200
    # Not observed in a band that is not shown: the label and both dates say something.
    levels[:20, :20] = 255
    city = City("town", ("B04", "B03", "B02"), image, image, change)
    drawn = imread(BytesIO(city_picture(city, levels, np.linspace(0, 1, LEVELS), 0.5)), "jpg")
    # The panels lie side by side under a title of their own.
    height, width = drawn.shape[:2]
    at = {
        (0.25, 0.75): Agreement.FALSE_NEGATIVE,
        (0.75, 0.75): Agreement.TRUE_POSITIVE,
        (0.75, 0.25): Agreement.FALSE_POSITIVE,
        (0.35, 0.35): Agreement.TRUE_NEGATIVE,
        (0.1, 0.1): NOT_COUNTED,
    }
    panel = width / 5
    top = height - panel
    for (row, col), code in at.items():
        found = drawn[int(top + row * panel), int((4 + col) * panel)]
        assert np.abs(found.astype(int) - AGREEMENT_COLOURS[code]).max() < 12, code
    for number in range(5):
        found = drawn[int(top + 0.1 * panel), int((number + 0.1) * panel)]
        assert np.abs(found.astype(int) - AGREEMENT_COLOURS[NOT_COUNTED]).max() < 12, number
