"""Cross-validation by place: every city is predicted by a network that never saw it, nor a neighbour of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from s2change_plugin.engine.bands import L2A_BANDS
from s2change_plugin.engine.card import ModelCard, find_card
from s2change_plugin.engine.errors import ModelError, S2ChangeError, UnreadableInput
from s2change_plugin.engine.labelled import NEIGHBOURS_KM, Places, centres, city_names, neighbours, origins, require_one_level
from s2change_plugin.engine.model import load_model
from s2change_plugin.engine.outputs import NOT_OBSERVED, to_mask
from s2change_plugin.engine.validity import Codes

from .calibrate import card_values, summary
from .evaluate import trained_near
from .failures import failures
from .files import read_json, write_json, write_whole
from .fit import few_steps, fit, flops_per_pixel, new_network, predict, save_state
from .options import FitOptions, completed
from .prepare import City, Labels, fingerprints, read_city, require_as_before
from .sampling import as_level_2a, band_statistics, laid_out

OPTIONS, SCORES = "options.json", "scores.json"
# What is saved beside the options of the fits.
_BESIDE = ("folds", "teachers", "init", "cities")
# How each held-out city is predicted: as it is, and as Level-2A might show it.
VARIANTS = ("l1c", "l2a")

Fold = tuple[str, ...]


@dataclass(frozen=True)
class Teachers:
    """The networks of a cross-validation, from which those of another learn: of each fold, the ones that never saw it.

    Attributes:
        folder: of that cross-validation.
        options: of its fits.
        seeds: of its fits.
        sha256: of the files of its networks.
    """

    folder: Path
    options: FitOptions
    seeds: tuple[int, ...]
    sha256: str

    def of(self, fold: Fold) -> list[Any]:
        """One of each seed.

        Raises:
            UnreadableInput: one was fitted to other cities.
        """
        found = []
        for seed in self.seeds:
            state = torch.load(_network_path(self.folder, seed, fold), weights_only=True)
            if tuple(state["held_out"]) != fold:
                raise UnreadableInput(
                    f"The networks in {self.folder} that did not see {fold[0]} are of other folds. Choose the same number of folds."
                )
            network = new_network(self.options)
            network.load_state_dict(state["network"])
            found.append(network.eval())
        return found


def crossvalidate(
    data: Path,
    output: Path,
    options: FitOptions,
    folds: int,
    seeds: int,
    workers: int,
    say: Callable[[str], None],
    teachers: Path | None = None,
    init: str | None = None,
) -> dict[str, Any]:
    """Predict every city of a data folder out of fold, once for each seed, and score the predictions.

    A fold whose predictions lie in the output folder already is not fitted again.

    Args:
        data: as `prepare` makes it.
        output: folder; gets SEED/VARIANT/CITY.tif (probability as the engine stores it), SEED/networks, options.json and scores.json.
        options: of every fit; their seed is the first.
        folds: at most as many as there are groups of neighbouring places.
        seeds: how many.
        workers: folds that are fitted at a time, each on its share of the processor's cores.
        say: tells a sentence.
        teachers: output folder of a cross-validation of the same data and folds, whose networks these learn from.
        init: model to begin every fit with, by name or path, of the options' networks; else random weights.

    Raises:
        S2ChangeError: the cities are of several levels, the output folder holds a run with other options or on other data, that of
            the teachers none to learn from, the model to begin with knows one of the places, or all change or all else lies in one fold.
    """
    level = require_one_level(origins(data, city_names(data)))
    split = folds_of(data, folds)
    cities = fingerprints(data)
    start = find_card(init) if init else None
    taught = teachers_in(teachers, cities, split, options, start) if teachers else None
    if start:
        require_its_network(start, options)
        _require_new_places(start, centres(data), data)
    _require_both(split, observed_labels(data, options.bands))
    _begin(output, options, folds, taught, start, cities)
    for number, fold in enumerate(split):
        say(f"Fold {number}: {', '.join(fold)}")
    truth = labels_of(data)
    fewest = min(sum(change.size for name, change in truth.items() if name not in fold) for fold in split)
    too_few = None if start else few_steps(fewest, options)
    if too_few:
        say(too_few)
    numbers = range(options.seed, options.seed + seeds)
    open_tasks = [(seed, fold) for seed in numbers for fold in split if not is_predicted(output, seed, fold)]
    with mapped(workers) as walk:
        for seed, fold, seconds in walk(partial(_fold, data, output, options, taught, init), open_tasks):
            say(f"Seed {seed}, {', '.join(fold)}: {seconds:.0f} s")
    found: dict[str, Any] = {
        "folds": split,
        "seeds": list(numbers),
        "level": level,
        "imitated": imitates_level_2a(level, options.bands),
        "flops_per_pixel": round(flops_per_pixel(options)),
    }
    found.update(summaries(output, numbers, truth, split))
    found["card"] = card_values([read_predictions(output, seed, truth) for seed in numbers], truth, found["l1c"])
    masks = [_masks(output, seed, split, one) for seed, one in zip(numbers, found["l1c"]["seeds"], strict=True)]
    found["failures"] = failures(data, masks, options.bands)
    write_json(output / SCORES, found)
    return found


def saved_options(folder: Path) -> dict[str, Any]:
    """All that a cross-validation was made with: options of its fits, number of folds, teachers, the model that it began with, fingerprints of its cities.

    Raises:
        UnreadableInput: none is there.
    """
    values = read_json(
        folder / OPTIONS,
        f"{folder} holds no cross-validation. Make one with: python -m training crossvalidate",
        "Put it back as it was, or choose another folder.",
    )
    return {**dict.fromkeys(_BESIDE), **completed(values)}


def saved_scores(folder: Path) -> dict[str, Any]:
    """What a finished cross-validation found, as `crossvalidate` gives it.

    Raises:
        UnreadableInput: it is not finished.
    """
    return read_json(
        folder / SCORES,
        f"{folder} holds no finished cross-validation: {SCORES} is missing. Finish that run first.",
        "Give that crossvalidate command once more: what was fitted stays, and is scored anew.",
    )


def settings_of(folder: Path) -> dict[str, Any]:
    """Options of the fits of a cross-validation.

    Raises:
        UnreadableInput: none is there.
    """
    there = saved_options(folder)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in there.items() if name not in _BESIDE}


def taught_by(saved: dict[str, Any]) -> str:
    """Which networks learned from how many others, as the options of a cross-validation were saved; nothing where none did."""
    teachers = saved["teachers"]
    return lesson(len(teachers["seeds"]), teachers["views"], saved["views"]) if teachers else ""


def begun_with(saved: dict[str, Any]) -> str:
    """With which model every fit began, as the options of a cross-validation were saved; nothing where with none."""
    return f"every fit begins with {saved['init']['name']}" if saved["init"] else ""


def lesson(teachers: int, taught: Iterable[str], views: Iterable[str]) -> str:
    """Words for which networks learned from how many others."""
    learners = ", ".join(view for view in views if view in set(taught))
    return f"what looks at the {learners} learned from {'one other' if teachers == 1 else f'{teachers} others'}"


def require_noted(teachers: dict[str, Any] | None, folder: Path) -> None:
    """Refuse a cross-validation that does not say what its networks learned from.

    Args:
        teachers: as its options have them.
        folder: of the cross-validation.

    Raises:
        UnreadableInput: it had some, and notes only where they were.
    """
    if teachers and "sha256" not in teachers:
        raise UnreadableInput(
            f"{folder} is of an earlier version, which noted of its teachers only where they were. Make it anew, in another folder."
        )


def teachers_in(
    folder: Path, cities: Mapping[str, str], split: Sequence[Fold], options: FitOptions, start: ModelCard | None
) -> Teachers:
    """What a cross-validation's folder has to teach networks of these options.

    Args:
        folder: of the cross-validation.
        cities: `fingerprints` of the data.
        split: the folds.
        options: of the networks that are to learn.
        start: model that these begin with.

    Raises:
        UnreadableInput: nothing, not for each of the folds, what was fitted to other data, or what sees by other statistics.
    """
    there, saved = FitOptions(**settings_of(folder)), saved_options(folder)
    require_as_before(saved["cities"], cities, folder)
    require_alike(str(folder), (there.architecture, there.views, there.bands, there.alignment), options)
    began = saved["init"]
    if (began and began["sha256"]) != (start and start.sha256):
        raise UnreadableInput(
            f"The networks of {folder} began with {began['name'] if began else 'random weights'}, and those that are to learn with "
            f"{start.name if start else 'random weights'}, so that they see by other means and deviations. Begin both with the same, by --init."
        )
    seeds = sorted(int(one.name.removeprefix("seed-")) for one in folder.glob("seed-*"))
    missing = [fold for seed in seeds for fold in split if not _network_path(folder, seed, fold).exists()]
    if missing or not seeds:
        told = f" that did not see {', '.join(missing[0])}" if missing else ""
        raise UnreadableInput(
            f"{folder} has no networks{told}. Finish that cross-validation, with the same data and folds; one of an earlier version kept "
            "none and has to be made anew, in a new folder."
        )
    digest = sha256()
    for seed in seeds:
        for fold in split:
            digest.update(_network_path(folder, seed, fold).read_bytes())
    teachers = Teachers(folder.resolve(), there, tuple(seeds), digest.hexdigest())
    for fold in split:
        teachers.of(fold)
    return teachers


def require_alike(name: str, teachers: tuple[str, Sequence[str], Sequence[str], int], options: FitOptions) -> None:
    """Refuse teachers that cannot be shown the same patches, or look at nothing that is to be learned.

    Args:
        name: of the teachers.
        teachers: their architecture, views, bands, and of how many pixels patches are multiples.
        options: of the networks that are to learn.

    Raises:
        UnreadableInput: they are such.
    """
    architecture, views, bands, alignment = teachers
    if architecture != options.architecture:
        said = f"are {architecture}, and those that are to learn are {options.architecture}"
    elif bands != options.bands:
        said = f"look at {', '.join(bands)}, and those that are to learn at {', '.join(options.bands)}"
    elif not set(views) & set(options.views):
        said = f"have the views {', '.join(views)}, and those that are to learn {', '.join(options.views)}"
    elif options.patch % alignment:
        said = f"need patches of a multiple of {alignment} pixels, and these have {options.patch}"
    else:
        return
    raise UnreadableInput(f"The networks of {name} {said}. Choose others, or other settings.")


def folds_of(data: Path, folds: int) -> list[Fold]:
    """The cities of a data folder in folds: balanced by change, neighbours together.

    Raises:
        S2ChangeError: more folds than groups of neighbours.
    """
    return balanced_folds(changed_pixels(data), neighbours(centres(data)), folds)


def labels_of(data: Path) -> dict[str, Labels]:
    """The label of each city: uint8 (row, col), 1 change, 0 none, 255 not labelled."""
    return {name: read_levels(data / name / "change.tif", "Make it again.") for name in city_names(data)}


def observed_labels(data: Path, bands: tuple[str, ...]) -> dict[str, Labels]:
    """The same, and 255 also where a network of these bands sees nothing."""
    return {name: read_city(data / name, bands).change for name in city_names(data)}


def changed_pixels(data: Path) -> dict[str, int]:
    """How many pixels of each city changed."""
    return {name: int((change == 1).sum()) for name, change in labels_of(data).items()}


def balanced_folds(changed: dict[str, int], groups: Sequence[Fold], folds: int) -> list[Fold]:
    """Groups dealt to folds, the largest first, each to the fold that has least change yet.

    Raises:
        S2ChangeError: more folds than groups.
    """
    if len(groups) < 2:
        raise S2ChangeError(
            f"All cities lie at one place, with steps of less than {NEIGHBOURS_KM:g} km between them, so none can be predicted by a network "
            "that does not know the place. Add a second place, or hold out some of the ground: python -m training train."
        )
    if not 2 <= folds <= len(groups):
        raise S2ChangeError(
            f"{folds} folds cannot be made of {len(groups)} groups of neighbouring cities. Choose 2 to {len(groups)}."
        )
    split: list[list[str]] = [[] for _ in range(folds)]
    for group in sorted(groups, key=lambda group: (-sum(changed[name] for name in group), group)):
        # An empty fold comes first even where a group without change was dealt before.
        min(split, key=lambda fold: (sum(changed[name] for name in fold), len(fold))).extend(group)
    return [tuple(sorted(fold)) for fold in split]


def read_levels(path: Path, remedy: str) -> Codes:
    """The one band of a raster of codes.

    Raises:
        UnreadableInput: it cannot be read; the text ends with the remedy.
    """
    try:
        with rasterio.open(path) as raster:
            levels: Codes = raster.read(1)
    except RasterioError as error:
        raise UnreadableInput(f"{path} cannot be read to its end, it is missing or damaged. {remedy}") from error
    return levels


def is_predicted(output: Path, seed: int, cities: Iterable[str]) -> bool:
    """Whether all predictions of these cities are there."""
    return all(_path(output, seed, name, variant).exists() for name in cities for variant in VARIANTS)


def read_predictions(output: Path, seed: int, cities: Iterable[str], variant: str = VARIANTS[0]) -> dict[str, Codes]:
    """City to stored out-of-fold probability: uint8 (row, col), 0–250, 255 where not seen.

    Raises:
        UnreadableInput: one cannot be read.
    """
    remedy = "Delete it and give that crossvalidate command once more: its fold alone is fitted anew."
    return {name: read_levels(_path(output, seed, name, variant), remedy) for name in cities}


def summaries(output: Path, seeds: Iterable[int], truth: dict[str, Labels], split: Sequence[Fold]) -> dict[str, dict[str, Any]]:
    """Scores by variant, all with the thresholds and the calibration that a user has: those of images as they are."""
    seeds = list(seeds)
    plain, *_ = stored = [[read_predictions(output, seed, truth, variant) for seed in seeds] for variant in VARIANTS]
    return {variant: summary(one, truth, split, plain) for variant, one in zip(VARIANTS, stored, strict=True)}


def imitates_level_2a(level: str, bands: Iterable[str]) -> bool:
    """Whether images of a level can be made look like Level-2A, for a network of these bands: that has no B10."""
    return level == "L1C" and set(bands) <= set(L2A_BANDS)


def as_text(found: dict[str, Any]) -> str:
    """The scores as lines for reading, in percent."""
    lines = [f"{found['flops_per_pixel'] / 1000:.0f} kFLOP per pixel. Out of fold, pooled; thresholds from the other folds:"]
    names = {"l1c": found["level"], **({"l2a": "L2A imitated"} if found["imitated"] else {})}
    for variant, title in names.items():
        mean, deviation = found[variant]["mean"], found[variant]["deviation"]
        rows = [(f"seed {n}", one["pooled"]) for n, one in zip(found["seeds"], found[variant]["seeds"], strict=True)]
        # One seed is its own mean and ensemble.
        several = len(rows) > 1
        for name, one in [("mean", mean), *rows] if several else rows:
            values = " ".join(f"{key} {100 * one[key]:.1f}" for key in ("f1", "precision", "recall", "iou", "pr_auc"))
            spread = f" (F1 ± {100 * deviation['f1']:.1f})" if name == "mean" and deviation["f1"] is not None else ""
            lines.append(f"{title} {name:8} {values}{spread}")
        if several:
            lines.append(f"{title} ensemble f1 {100 * found[variant]['ensemble']['pooled']['f1']:.1f}")
    first = found["l1c"]["seeds"][0]
    lines.append(
        f"Seed {found['seeds'][0]} by city: "
        + ", ".join(f"{name} {100 * one['f1']:.0f}" for name, one in first["cities"].items())
    )
    lines.append(f"In hindsight {100 * first['best_f1_in_hindsight']:.1f}; thresholds {first['goals']['f1']['thresholds']}")
    for name, one in first["calibration"].items():
        lines.append(f"Calibration {name}: error {one['error']}, slope {one['slope']}, Brier skill {one['skill']}")
    return "\n".join(lines)


@contextmanager
def mapped(workers: int) -> Iterator[Callable[..., Any]]:
    """A map over tasks, here or by processes that share the processor's cores."""
    if workers == 1:
        yield map
        return
    threads = max(1, torch.get_num_threads() // workers)
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        yield pool.map


def _fold(
    data: Path, output: Path, options: FitOptions, teachers: Teachers | None, init: str | None, task: tuple[int, Fold]
) -> tuple[int, Fold, float]:
    """Fit on all cities but a fold's, predict these, and give the task and the seconds that it took."""
    seed, fold = task
    began = time.monotonic()
    cities = _cities(data, options.bands)
    training = [city for name, city in cities.items() if name not in fold]
    start = load_model(init, device="cpu") if init else None
    statistics = (start.card.mean, start.card.std) if start else band_statistics(training)
    learned = teachers.of(fold) if teachers else []
    weights = start.network.state_dict() if start else {}
    network = fit([laid_out(city, statistics) for city in training], replace(options, seed=seed), learned, weights)
    kept = _network_path(output, seed, fold)
    kept.parent.mkdir(parents=True, exist_ok=True)
    save_state(kept, {"network": network.state_dict(), "held_out": list(fold)})
    for variant in VARIANTS:
        for name in fold:
            city = cities[name] if variant == "l1c" else as_level_2a(cities[name])
            levels = predict(network, laid_out(city, statistics), options)
            _write(_path(output, seed, name, variant), levels, data / name / "change.tif")
    return seed, fold, time.monotonic() - began


@lru_cache(maxsize=1)
def _cities(data: Path, bands: tuple[str, ...]) -> dict[str, City]:
    """All cities, read once by each worker."""
    return {name: read_city(data / name, bands) for name in city_names(data)}


def _masks(output: Path, seed: int, split: Sequence[Fold], scores: dict[str, Any]) -> dict[str, Codes]:
    """Each city's change mask at the threshold that the other folds chose for F1."""
    thresholds = scores["goals"]["f1"]["thresholds"]
    return {
        name: to_mask(levels, threshold)
        for fold, threshold in zip(split, thresholds, strict=True)
        for name, levels in read_predictions(output, seed, fold).items()
    }


def _path(output: Path, seed: int, city: str, variant: str) -> Path:
    return output / f"seed-{seed}" / variant / f"{city}.tif"


def _network_path(output: Path, seed: int, fold: Fold) -> Path:
    """Where the networks lie that did not see a fold, called by its first city."""
    return output / f"seed-{seed}" / "networks" / f"{fold[0]}.pt"


def _write(target: Path, levels: NDArray[np.uint8], like: Path) -> None:
    """Write stored probability on the grid of a label, in one step, so that what exists is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(like) as label:
        profile = {**label.profile, "nodata": NOT_OBSERVED, "compress": "deflate"}
    # GDAL itself says nothing when a disk fills up while it closes a file.
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.write(levels, 1)
        write_whole(target, memory.read())


def require_its_network(start: ModelCard, options: FitOptions) -> None:
    """Refuse options of another network than the one of a model to begin with.

    Raises:
        ModelError: they are such.
    """
    wanted, there = (
        (one.bands, one.views, one.width, one.depth, one.view_cells or (1,) * len(one.views)) for one in (options, start)
    )
    if options.architecture != "two-date-unets" or wanted != there:
        raise ModelError(
            f"A network of {_as_words(wanted)} cannot begin with {start.name}, which has {_as_words(there)}. Leave these options out."
        )


def _as_words(network: tuple[Sequence[str], Sequence[str], int, int, Sequence[int]]) -> str:
    bands, views, width, depth, cells = network
    on_cells = f" on cells of {', '.join(map(str, cells))}" if max(cells) > 1 else ""
    return f"width {width}, depth {depth}, views {', '.join(views)}{on_cells}, bands {', '.join(bands)}"


def _require_new_places(start: ModelCard, places: Places, data: Path) -> None:
    """Refuse a model to begin with that was trained where it would be scored."""
    known = trained_near(start, places)
    if known:
        raise UnreadableInput(
            f"{start.name} was trained within {NEIGHBOURS_KM:g} km of {', '.join(known)}, so that scores there would prove nothing. Take what lies there "
            f"out of {data}, or leave --init out."
        )


def _require_both(split: Sequence[Fold], labels: Mapping[str, Labels]) -> None:
    """Refuse folds of which one leaves nothing to learn from, or to choose its threshold and calibration on.

    Args:
        split: the folds.
        labels: `observed_labels`.

    Raises:
        UnreadableInput: one does.
    """
    for fold in split:
        for value, kind in ((1, "change"), (0, "no change")):
            if not any((change == value).any() for name, change in labels.items() if name not in fold):
                raise UnreadableInput(
                    f"Outside of the fold {', '.join(fold)} no pixel that is observed on both dates is labelled as {kind}, so nothing can be "
                    f"learnt from it. Label {kind} at another place, or add one that has some."
                )


def _begin(
    output: Path, options: FitOptions, folds: int, teachers: Teachers | None, start: ModelCard | None, cities: dict[str, str]
) -> None:
    """Make the output folder, or check that the run in it is this one."""
    taught = teachers and {
        "sha256": teachers.sha256,
        "seeds": teachers.seeds,
        "views": teachers.options.views,
        "options": asdict(teachers.options),
    }
    began = start and {"name": start.name, "sha256": start.sha256}
    wanted = json.loads(json.dumps({"folds": folds, "teachers": taught, "init": began, **asdict(options)}))
    saved = output / OPTIONS
    if saved.exists():
        there = saved_options(output)
        require_as_before(there["cities"], cities, output)
        require_noted(there["teachers"], output)
        other = [
            f"{name} {_told(there.get(name))} instead of {_told(value)}"
            for name, value in wanted.items()
            if there.get(name) != value
        ]
        if other:
            raise S2ChangeError(f"{output} holds a run with other options ({'; '.join(other)}). Choose another folder.")
        return
    output.mkdir(parents=True, exist_ok=True)
    write_json(saved, {**wanted, "cities": cities})


def _told(value: Any) -> str:
    """A saved option as an error message has it: of teachers all but their own options, which go with the hash."""
    return repr({name: one for name, one in value.items() if name != "options"} if isinstance(value, dict) else value)
