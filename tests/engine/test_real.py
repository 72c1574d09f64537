"""Is it plausible on real images of Level-2A, which no model was trained on? Burned areas, and a river two weeks apart."""

import json
from pathlib import Path

import numpy as np
import rasterio
from click.testing import CliRunner

from s2change_plugin.engine.__main__ import main
from tests.conftest import real_images

BANDS = "B02,B03,B04,B08,B12"


def run(*arguments: object) -> str:
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_what_burned_is_found_without_a_model(tmp_path: Path) -> None:
    """Against perimeters of fires, which are coarse and hold ground that did not burn: a fifth of what is seen."""
    found = []
    for fire in sorted(real_images("wildfire").iterdir()):
        dates = (fire / "t1_pre.tif", fire / "t2_post.tif", "--before-bands", BANDS, "--after-bands", BANDS)
        run("detect", *dates, "--mask", tmp_path / "mask.tif", "--method", "irmad")
        said = run("compare", tmp_path / "mask.tif", fire / "label.tif", "--json")
        found.append(json.loads(said[said.index("{") :])["scores"]["f1"])
    # 0.66 in the mean; 0.33 is what calling everything burned has.
    assert np.mean(found) > 0.55


def test_two_weeks_of_a_river_hold_next_to_no_new_structure(tmp_path: Path) -> None:
    """The water differs, and so do clouds: to the model for Level-2A both are no change."""
    before, after = sorted(real_images("utm_pair").glob("*.tif"))
    units = ("--before-units", "dn+1000", "--after-units", "dn+1000")
    run("detect", before, after, "--mask", tmp_path / "mask.tif", "--record", tmp_path / "run.json", *units)
    with rasterio.open(tmp_path / "mask.tif") as raster:
        mask = raster.read(1)
    assert json.loads((tmp_path / "run.json").read_text())["made_by"]["model"] == "oscd-urban-9"
    assert (mask != 255).mean() > 0.95
    assert (mask == 1).mean() < 0.01
