"""The commands: python -m s2change_plugin.engine detect, check, stack, compare, review, sample, area, chips, models, picture."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import click

from .errors import Cancelled, NotEnoughMemory, S2ChangeError
from .events import PLACED, Events, JsonEvents, TerminalEvents, hand_over, say_in_any_encoding, stop_when_input_closes
from .loading import load_when_used
from .turns import is_out_of_memory

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

# Options of glibc's malloc.h: trim and map from 1 GiB on, above which no array of a window is; one arena for all threads, since
# those of single threads hold no large arrays.
_MALLOC = {-1: 1 << 30, -3: 1 << 30, -8: 1}
_UNITS = click.Choice(["auto", "dn", "dn+1000", "reflectance"])
_FILE = click.Path(path_type=Path, dir_okay=True)
_EVENTS = click.option(
    "--events", is_flag=True, help="Say all as JSON lines on standard output, and stop when standard input closes."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Change detection between two Sentinel-2 dates."""
    keep_freed_memory()
    keep_matrices_on_one_core()
    load_when_used()
    # Loading PyTorch makes so many objects that Python looks for unused ones 490 times, which takes a seventh of the time.
    gc.set_threshold(50_000, 20, 20)


def scene_options(command: F) -> F:
    """BEFORE, AFTER and the options that say what is in them."""
    return _with(
        command,
        click.argument("before"),
        click.argument("after"),
        click.option(
            "--before-bands",
            metavar="B02,B03,…",
            help="Layers of BEFORE in their order; SCL is the scene classification, - skips one.",
        ),
        click.option(
            "--after-bands",
            metavar="B02,B03,…",
            help="Layers of AFTER in their order; SCL is the scene classification, - skips one.",
        ),
        click.option("--before-crs", metavar="CRS", help="CRS of BEFORE, where its file has none or a wrong one."),
        click.option("--after-crs", metavar="CRS", help="CRS of AFTER, where its file has none or a wrong one."),
        click.option(
            "--before-units", type=_UNITS, default="auto", show_default=True, help="Unit of BEFORE, where its file does not say."
        ),
        click.option(
            "--after-units", type=_UNITS, default="auto", show_default=True, help="Unit of AFTER, where its file does not say."
        ),
        click.option("--trust-units", is_flag=True, help="The units are right as they are given; stop for no doubt about them."),
    )


def method_options(command: F) -> F:
    """What finds change between the two dates."""
    return _with(
        command,
        click.option(
            "--method",
            type=click.Choice(["unet", "cva", "irmad", "pca"]),
            default="unet",
            show_default=True,
            help="What finds change: a model, or, for any change and without a model, change vector analysis, IR-MAD, PCA difference.",
        ),
        click.option(
            "--model",
            default="auto",
            show_default=True,
            help="Name or path of a model; see the command models. auto: the most accurate one that ships whose bands and level both dates have. With unet only.",
        ),
        click.option(
            "--accept-level", is_flag=True, help="Take a processing level that the model was neither trained nor tested on."
        ),
    )


def pair_options(command: F) -> F:
    """How the two dates are laid over each other, and what of them counts."""
    return _with(
        command,
        click.option(
            "--clouds",
            type=click.Choice(["auto", "product", "spectral", "none"]),
            default="auto",
            show_default=True,
            help="Cloud mask: the product's own, a spectral test of Level-1C bands, or the first of these that there is.",
        ),
        click.option("--before-mask", metavar="FILE", help="Raster (not 0, or an SCL) or polygons where BEFORE is not usable."),
        click.option("--after-mask", metavar="FILE", help="Raster (not 0, or an SCL) or polygons where AFTER is not usable."),
        click.option(
            "--mask-buffer", type=float, default=60, show_default=True, help="Metres by which clouds and shadows are widened."
        ),
        click.option("--area", metavar="FILE", help="Polygons of the area of interest."),
        click.option(
            "--register/--no-register", default=True, help="Take the sub-pixel shift between the dates out.", show_default=True
        ),
        click.option("--normalise/--no-normalise", default=False, help="Bring AFTER to BEFORE's brightness.", show_default=True),
    )


def _with(command: F, *options: Callable[[F], F]) -> F:
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@scene_options
@click.option("--mask", type=_FILE, required=True, help="Change mask to write: 1 change, 0 no change, 255 not observed.")
@click.option("--probability", type=_FILE, help="Probability of change to write, 0–1.")
@click.option("--quality", type=_FILE, help="Raster to write that says observed, or why not.")
@click.option("--polygons", type=_FILE, help="GeoPackage of changed areas to write.")
@click.option("--record", type=_FILE, help="JSON to write with everything needed to repeat the run.")
@click.option(
    "--report", type=_FILE, help="HTML page to write: the map, its largest areas on both dates, and what is known of it."
)
@click.option(
    "--goal",
    type=click.Choice(["f1", "precision", "recall"]),
    default="f1",
    show_default=True,
    help="Which of the model's thresholds counts: of the best F1, of precision 0.8 (few false alarms), of recall 0.8 (little missed).",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Probability from which a pixel is change, in place of a goal, to the nearest 0.004; else the model's for the goal, or 0.5.",
)
@click.option("--bounds", nargs=4, type=float, metavar="LEFT BOTTOM RIGHT TOP", help="Part to look at, in BEFORE's CRS.")
@click.option("--bounds-crs", metavar="CRS", help="CRS of the bounds, if it is another one.")
@method_options
@pair_options
@click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True, help="Of the model."
)
@click.option(
    "--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True, help="Of the model."
)
@_EVENTS
def detect(events: bool, **given: Any) -> None:
    """Find what changed from BEFORE to AFTER.

    Each is a Sentinel-2 product (SAFE folder, its zip, its MTD xml, or GDAL's name for it), a stacked GeoTIFF, COG or VRT with
    one layer per band, or a folder of single-band files (…_B02.tif).
    """
    with telling(events) as said:
        from .detect import DetectOptions
        from .detect import detect as run

        run(_asked(DetectOptions, given), said)


@main.command()
@scene_options
@method_options
@pair_options
@click.option("--report", type=_FILE, help="HTML page to write.")
@click.option("--json", "as_json", is_flag=True, help="Say the findings as JSON, for programs.")
@_EVENTS
def check(events: bool, as_json: bool, **given: Any) -> None:
    """Say what is wrong with BEFORE and AFTER before they are compared, and what to do about it."""
    with telling(events, as_json) as said:
        from .check import CheckOptions
        from .check import check as run

        run(_asked(CheckOptions, given), said)


@main.command()
@click.argument("source")
@click.argument("output", metavar="OUT", type=_FILE)
@click.option("--quality", type=_FILE, help="Raster of what is usable; else OUT with _quality in its name.")
@click.option(
    "--bands", metavar="B02,B03,…", help="Layers of a stack in their order; SCL is the scene classification, - skips one."
)
@click.option("--crs", metavar="CRS", help="CRS of SOURCE, where its file has none or a wrong one.")
@click.option("--units", type=_UNITS, default="auto", show_default=True, help="Unit of SOURCE, where its file does not say.")
@click.option("--trust-units", is_flag=True, help="The unit is right as it is given.")
@click.option("--clouds", type=click.Choice(["auto", "product", "spectral", "none"]), default="auto", show_default=True)
@click.option("--mask", metavar="FILE", help="Raster (not 0, or an SCL) or polygons where SOURCE is not usable.")
@click.option("--mask-buffer", type=float, default=60, show_default=True, help="Metres by which clouds and shadows are widened.")
@_EVENTS
def stack(events: bool, **given: Any) -> None:
    """Make SOURCE one GeoTIFF: reflectance × 10000 without offset, all bands on 10 m, and beside it what is usable."""
    with telling(events) as said:
        from .stack import StackOptions
        from .stack import stack as run

        run(_asked(StackOptions, given), said)


@main.command()
@click.argument("mask")
@click.argument("reference")
@click.option("--labelled", metavar="FILE", help="Polygons of the part that is labelled; outside of it nothing counts.")
@click.option(
    "--change-value",
    type=float,
    help="Value of a reference raster that is change, any other then being no change. "
    "Left out: 1 change, 0 no change. 255 and nodata are unlabelled.",
)
@click.option(
    "--confusion", type=_FILE, help="Raster to write: 0 true negative, 1 true positive, 2 false positive, 3 false negative."
)
@click.option("--table", type=_FILE, help="CSV to write: pixels and hectares by what MASK and what REFERENCE says.")
@click.option("--report", type=_FILE, help="HTML page to write.")
@click.option("--json", "as_json", is_flag=True, help="Say the scores as JSON, for programs.")
@_EVENTS
def compare(events: bool, as_json: bool, **given: Any) -> None:
    """Say how well MASK agrees with REFERENCE: F1, precision, recall, IoU, kappa.

    MASK is 1 change, 0 no change, 255 not observed, as detect writes it. REFERENCE is a raster, or polygons of change, on any grid
    and in any CRS; a raster without one must have MASK's shape, and is taken to be in MASK's CRS where it fits there, else pixel by
    pixel. What is not observed or not labelled is left out, and counted.
    """
    with telling(events, as_json) as said:
        from .compare import EvaluationOptions
        from .compare import compare as run

        run(_asked(EvaluationOptions, given), said)


@main.command()
@click.argument("mask")
@click.argument("sample", type=_FILE)
@click.option("--size", type=int, default=300, show_default=True, help="How many pixels.")
@click.option(
    "--probability",
    metavar="FILE",
    help="Probability that was written with MASK: a quarter of the pixels is then drawn where the map is least sure of no change, which tells about as "
    "much as twice as many pixels do.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another one draws other pixels.")
@click.option(
    "--extend",
    metavar="FILE",
    help="Older, smaller sample of MASK: its pixels and your answers come first in the new one, and its seed counts.",
)
@click.option("--json", "as_json", is_flag=True, help="Say the result as JSON, for programs.")
@_EVENTS
def sample(events: bool, as_json: bool, **given: Any) -> None:
    """Draw pixels of MASK at random and write their outlines to the GeoPackage SAMPLE, for you to say what is true of each.

    MASK is 1 change, 0 no change, 255 not observed, as detect writes it. In the field "reference" of each pixel 1 is change, 0 no change and 255 that
    it cannot be told; the command area then says how much has changed.
    """
    with telling(events, as_json) as said:
        from .sample import SampleOptions, draw_sample

        draw_sample(_asked(SampleOptions, given), said)


@main.command()
@click.argument("sample")
@click.option("--report", type=_FILE, help="HTML page to write.")
@click.option("--json", "as_json", is_flag=True, help="Say the result as JSON, for programs.")
@_EVENTS
def area(events: bool, as_json: bool, **given: Any) -> None:
    """Say how much has changed, with a confidence interval, and how far the map is right, from a SAMPLE that you have looked at.

    SAMPLE is what the command sample writes, with the field "reference" filled.
    """
    with telling(events, as_json) as said:
        from .area import AreaOptions, estimate_area

        estimate_area(_asked(AreaOptions, given), said)


@main.command()
@click.argument("mask")
@click.argument("areas")
@click.option("--output", type=_FILE, required=True, help="Reviewed mask to write.")
@click.option("--json", "as_json", is_flag=True, help="Say the result as JSON, for programs.")
@_EVENTS
def review(events: bool, as_json: bool, **given: Any) -> None:
    """Put into MASK what you said of its areas in the field "review" of AREAS, the polygons of a run, and write the result.

    There 1 is change, 0 no change and 255 that it cannot be told, which is not observed in the mask; where nothing is said the mask stays as it is.
    Areas that you drew where the map has no change count too; of those with an answer that overlap the smaller one does.
    """
    with telling(events, as_json) as said:
        from .review import ReviewOptions, apply_review

        apply_review(_asked(ReviewOptions, given), said)


@main.command()
@scene_options
@click.argument("change")
@click.argument("data", type=_FILE)
@click.option(
    "--no-change",
    metavar="FILE",
    help="Polygons of no change, or of all that you looked at: in them whatever is not change is no change, and nothing else is "
    "labelled. Left out: the bounding box of CHANGE.",
)
@click.option("--name", help="Of the group; else place and dates.")
@click.option(
    "--block", type=float, default=5000, show_default=True, help="Metres; what is labelled is cut into groups of about this side."
)
@click.option("--force", is_flag=True, help="Replace what was exported under the name.")
@click.option("--licence", help="Of your labels; a model that is trained on them repeats it on its card.")
@click.option("--detects", help="What your labels call change, in a sentence; it comes on the card, too.")
@click.option("--level", type=click.Choice(["L1C", "L2A"]), help="Processing level of both dates, where nothing tells it.")
@pair_options
@click.option("--json", "as_json", is_flag=True, help="Say the result as JSON, for programs.")
@_EVENTS
def chips(events: bool, as_json: bool, **given: Any) -> None:
    """Add BEFORE, AFTER and polygons of CHANGE between them to the folder DATA, on which a model can be trained.

    DATA is made if it is not there. What is labelled is cut into groups that share no pixel, each of which training can hold out.
    """
    with telling(events, as_json) as said:
        from .chips import ChipsOptions
        from .chips import chips as run

        run(_asked(ChipsOptions, given), said)


def _asked(kind: type[T], given: dict[str, Any]) -> T:
    """The options of a run; what cannot be meant is wrong usage."""
    try:
        return kind(**given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def models(as_json: bool) -> None:
    """Show the cards of the models that are known by name: what each finds, how well, at which thresholds, and where it fails."""
    from .card import list_models
    from .report import card_text

    say_in_any_encoding()
    cards = list_models()
    if as_json:
        click.echo(json.dumps([{**asdict(card), "name": path.stem, "path": str(path)} for path, card in cards]))
        return
    click.echo("\n\n".join(card_text(card, path) for path, card in cards) or "No model is known here.")


@main.command()
@scene_options
@click.option("--mask", type=_FILE, required=True, help="Change mask of the two.")
@click.option("--output", type=_FILE, required=True, help="PNG to write.")
def picture(before: str, after: str, mask: Path, output: Path, trust_units: bool, **given: str | None) -> None:
    """Draw a picture of BEFORE, AFTER and the change between them."""
    with telling(False):
        from . import outputs
        from .options import CompareOptions
        from .pictures import change_picture

        options = _asked(CompareOptions, {"before": before, "after": after, "trust_units": trust_units, **given})
        outputs.require_apart([*options.inputs, str(mask)], [output])
        outputs.require_ending("picture", output)
        outputs.require_folders([output])
        scenes = [options.open_scene(side) for side in ("before", "after")]
        outputs.require_not_read([*scenes, str(mask)], [output])
        with outputs.workdir_beside(output) as workdir, outputs.writing(output):
            finished = outputs.in_workdir(workdir, "picture", output)
            finished.write_bytes(change_picture(scenes[0], scenes[1], mask))
            outputs.publish({finished: output})
        click.echo(f"Picture: {output}")


@contextmanager
def telling(as_events: bool, as_json: bool = False) -> Iterator[Events]:
    """Say what happens inside the block; where it fails or is stopped, end the process with 1 and one sentence.

    Wrong usage ends it as click does, where a person reads that. A bug keeps its traceback.

    Args:
        as_events: all as JSON lines.
        as_json: to a person, but the result as one JSON object.
    """
    say_in_any_encoding()
    events: Events = JsonEvents() if as_events else TerminalEvents(as_json)
    PLACED.clear()
    for number in _stop_signals():
        signal.signal(number, _interrupt)
    try:
        if as_events:
            stop_when_input_closes()
        yield events
    except KeyboardInterrupt:
        failure: S2ChangeError = Cancelled("Stopped before the end; nothing was written.")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        context = click.get_current_context(silent=True)
        bounds = context and any(option.name == "bounds" for option in context.command.params)
        failure = NotEnoughMemory(
            f"The memory is not enough. Close other programs, or choose a smaller part{' with --bounds' if bounds else ''}."
        )
    except UnicodeEncodeError as error:
        # The only texts that cannot be encoded are file names as the system hands them over.
        name = error.object.encode(errors="backslashreplace").decode()
        failure = S2ChangeError(f"The file name {name} is not valid UTF-8, so it cannot be read or written. Rename it.")
    except OSError as error:
        failure = S2ChangeError(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.")
    except S2ChangeError as error:
        failure = error
    except click.UsageError as error:
        if not as_events:
            raise
        failure = S2ChangeError(f"{error.message[:1].upper()}{error.message[1:].rstrip('.')}.")
    else:
        return
    events.error(failure)
    sys.exit(1)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Stop once, unless all is done: the clean-up that follows is not to be interrupted again."""
    if PLACED.is_set():
        return
    for one in _stop_signals():
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def _stop_signals() -> list[int]:
    """Those that ask to stop; that a terminal was closed, where this is not ignored, as under nohup."""
    found: list[int] = [signal.SIGINT, signal.SIGTERM]
    closed: int | None = getattr(signal, "SIGHUP", None)
    if closed is not None and signal.getsignal(closed) != signal.SIG_IGN:
        found.append(closed)
    return found


def keep_freed_memory() -> None:
    """Tell Linux's allocator to use again what large arrays leave: a window's are those of the one before.

    As it comes, it gives them back to the system, and clearing pages anew takes a third of the network's time.
    """
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        if hasattr(library, "mallopt"):
            for option, value in _MALLOC.items():
                library.mallopt(option, value)


def keep_matrices_on_one_core() -> None:
    """Tell OpenBLAS, before NumPy loads it, to take one core for a matrix: ours are small, and other threads use the other cores.

    As it comes, its threads wait for each other busily: a run for 512² pixels took half a second longer on two cores.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _end(code: int | str | None) -> None:
    """End the process at once: all files are closed, and taking PyTorch apart would take half a second."""
    hand_over()
    os._exit(code if isinstance(code, int) else code is not None)


if __name__ == "__main__":
    try:
        main(prog_name="python -m s2change_plugin.engine")
    except SystemExit as ended:
        _end(ended.code)
