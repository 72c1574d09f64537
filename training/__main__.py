"""The commands: python -m training prepare, train, crossvalidate, evaluate, export, simulate."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from s2change_plugin.engine.errors import S2ChangeError

from .simulate import SampleOptions, write_sample

_SETTINGS = click.option(
    "--set", "settings", metavar="NAME=VALUE", multiple=True, help="A training option, as FitOptions names it; repeatable."
)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """Train change-detection models for S2Change."""


@main.command()
@click.argument("source", metavar="OSCD_FOLDER", type=_FOLDER)
@click.argument("data", type=_FOLDER)
def prepare(source: Path, data: Path) -> None:
    """Lay the labelled city pairs of OSCD on one 10 m grid each, the second date registered."""
    from .prepare import prepare_oscd

    with one_sentence():
        for found in prepare_oscd(source, data):
            height, width = found["shape"]
            click.echo(
                f"{found['city']:12} {height:5} x {width:<5} {100 * found['changed_share']:5.2f} % changed. {found['shift']['text']}"
            )


@main.command()
@click.argument("data", type=_FOLDER)
@click.option("--output", "run", type=_FOLDER, required=True, help="Folder of the run: weights, card, log, curves.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run, with its own options.")
@click.option("--init", metavar="MODEL", help="Begin with this model's weights, bands and normalisation: its name or file.")
@click.option(
    "--crossvalidated",
    type=_FOLDER,
    help="Train on all cities, with this cross-validation's settings and its scores on the card.",
)
@click.option(
    "--teacher",
    "teachers",
    metavar="MODEL",
    multiple=True,
    help="Learn from what this model's networks of the same view say instead of from the labels; several are averaged.",
)
@click.option("--validation-share", default=0.2, show_default=True, help="Share of the cities that are held out, whole.")
@click.option("--validation", metavar="CITY,CITY,…", help="Hold these cities out instead.")
@click.option("--epochs", type=int, help="Walks over the cities.  [default: 50; with --init 10, or as many as 300 steps take]")
@click.option("--batch", type=int, help="Patches per step.  [default: 16]")
@click.option("--learning-rate", type=float, help="Highest of the schedule.  [default: 0.001; with --init 0.0003]")
@click.option("--patch", type=int, help="Side of a patch, pixels.  [default: 128]")
@click.option(
    "--loss",
    type=click.Choice(["bce+dice", "bce", "dice"]),
    help="What is minimised, but for networks with teachers.  [default: bce+dice]",
)
@click.option("--width", type=int, help="Channels of the network's first level.  [default: 16]")
@click.option("--depth", type=int, help="How often the network halves resolution.  [default: 4]")
@click.option("--seed", type=int, help="Of weights and patches.  [default: 0]")
@_SETTINGS
@click.pass_context
def train(
    context: click.Context,
    /,
    data: Path,
    run: Path,
    resume: bool,
    init: str | None,
    crossvalidated: Path | None,
    teachers: tuple[str, ...],
    validation_share: float,
    validation: str | None,
    settings: tuple[str, ...],
    **given: Any,
) -> None:
    """Train a model on the cities in DATA; an interrupted run goes on with --resume."""
    from .crossvalidate import settings_of
    from .options import FitOptions, parsed
    from .prepare import fingerprints
    from .train import TrainOptions, fine_tuning, saved_run
    from .train import train as train_model

    with one_sentence():
        try:
            named = {name: value for name, value in given.items() if value is not None} | parsed(settings)
            if crossvalidated and (settings or set(named) - {"seed"}):
                raise ValueError("With --crossvalidated the settings are those of the cross-validation; leave yours out.")
            held_out = tuple(validation.split(",")) if validation else ()
            start = (
                settings_of(crossvalidated)
                if crossvalidated
                else fine_tuning(init, data, named, validation_share, held_out)
                if init
                else {}
            )
            fit = FitOptions(**{**start, **named})
            measured = str(crossvalidated) if crossvalidated else None
            options = TrainOptions(fit, validation_share, held_out, init, measured, teachers)
            # What is asked for counts, though it may be the default.
            asked = {one for one in context.params if context.get_parameter_source(one) is not ParameterSource.DEFAULT}
            if resume and asked - {"data", "run", "resume"} and options != saved_run(run, fingerprints(data)):
                raise ValueError(
                    f"{run} was begun with other options, with which it goes on: leave yours out, or begin another run."
                )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        try:
            train_model(data, run, options, resume, steps, click.echo)
        except KeyboardInterrupt:
            raise S2ChangeError(f"Stopped. Go on with: python -m training train {data} --output {run} --resume") from None


@main.command()
@click.argument("model")
@click.argument("data", type=_FOLDER)
@click.option("--cities", metavar="CITY,CITY,…", help="These alone; else the ones that the model was not trained on.")
@click.option("--threshold", type=click.FloatRange(0, 1), help="Else the card's.")
@click.option("--json", "target", type=click.Path(path_type=Path, dir_okay=False), help="Write the scores to a file.")
def evaluate(model: str, data: Path, cities: str | None, threshold: float | None, target: Path | None) -> None:
    """Score MODEL (a name, a .safetensors file, or a run's folder) on labelled cities."""
    from s2change_plugin.engine.model import load_model

    from .evaluate import as_table, doubts, evaluated_cities
    from .evaluate import evaluate as evaluate_model

    with one_sentence():
        loaded = load_model(model)
        names = evaluated_cities(data, loaded.card, cities.split(",") if cities else [])
        scores = evaluate_model(loaded, data, names, threshold)
        click.echo(f"{loaded.card.name}, threshold {loaded.card.threshold if threshold is None else threshold:g}.")
        click.echo(as_table(scores))
        for doubt in doubts(data, loaded.card, names):
            click.echo(doubt)
        click.echo(f"What its card says of itself: {loaded.card.protocol}")
        if target:
            target.write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")


@main.command()
@click.argument("run", type=_FOLDER)
@click.argument("name")
@click.option("--ship", is_flag=True, help="Into the plugin's own resources instead of the user's models.")
@click.option("--force", is_flag=True, help="Replace a model of that name.")
def export(run: Path, name: str, ship: bool, force: bool) -> None:
    """Make the best weights of RUN a model called NAME that S2Change finds."""
    from .export import export as export_model

    with one_sentence():
        click.echo(f"Model {name}: {export_model(run, name, ship, force)}")


@main.command()
@click.argument("data", type=_FOLDER)
@click.option("--output", type=_FOLDER, required=True, help="Folder for out-of-fold probabilities and scores.")
@click.option("--folds", default=5, show_default=True)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="How many; the first is the setting seed.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Folds that are fitted at a time, each on its share of the cores.",
)
@_SETTINGS
@click.option(
    "--teachers",
    type=_FOLDER,
    help="Output of another run on the same data and folds, whose networks those of the same view learn from.",
)
@click.option(
    "--init",
    metavar="MODEL",
    help="Begin every fit with this model: what train --init --crossvalidated then makes, out of fold. Its name or file.",
)
@click.option(
    "--against", type=_FOLDER, multiple=True, help="Output of another run on the same data, for the report's tables; repeatable."
)
def crossvalidate(
    data: Path,
    output: Path,
    folds: int,
    seeds: int,
    workers: int,
    settings: tuple[str, ...],
    teachers: Path | None,
    init: str | None,
    against: tuple[Path, ...],
) -> None:
    """Predict every city in DATA by networks that never saw it nor its neighbours, score that, and write a report."""
    from .crossreport import PAGE, read_rival, write_report
    from .crossvalidate import as_text, folds_of
    from .crossvalidate import crossvalidate as run
    from .options import options_from, parsed
    from .train import fine_tuning

    with one_sentence():
        try:
            options = options_from(settings, fine_tuning(init, data, parsed(settings), folds=folds) if init else {})
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        # What cannot be compared is refused before hours of fitting.
        rivals = [read_rival(folder, data, folds_of(data, folds), options) for folder in against]
        try:
            found = run(data, output, options, folds, seeds, workers, click.echo, teachers, init)
        except KeyboardInterrupt:
            raise S2ChangeError("Stopped. The same command goes on with the folds that are not done.") from None
        click.echo(as_text(found))
        write_report(data, output, options, found, rivals, workers, click.echo)
        click.echo(f"Report: {output / PAGE}")


@main.command()
@click.argument("folder", type=_FOLDER)
@click.option("--seed", default=SampleOptions.seed, show_default=True, help="Another seed, another place.")
@click.option("--size", default=SampleOptions.size, show_default=True, help="Rows and columns, pixels of 10 m.")
def simulate(folder: Path, seed: int, size: int) -> None:
    """Make a simulated pair with exact truth in FOLDER: before.tif, after.tif, truth.tif and sample.json."""
    with one_sentence():
        try:
            options = SampleOptions(seed=seed, size=size)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        paths = write_sample(folder, options)
        share = json.loads(paths["sample"].read_text(encoding="utf-8"))["change_share"]
        click.echo(f"Simulated pair (seed {seed}, {size} x {size} pixels, {share:.1%} changed) in {folder}")


def steps(items: Sequence[int], label: str) -> Iterator[int]:
    """Walk the steps of an epoch behind a progress bar."""
    with click.progressbar(items, label=label, file=sys.stderr) as bar:
        yield from bar


@contextmanager
def one_sentence() -> Iterator[None]:
    """End with 1 and one sentence where the user can put it right; a bug keeps its traceback."""
    try:
        yield
    except S2ChangeError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        full = error.errno == errno.ENOSPC
        said = (
            "The disk is full. Free some space and run again."
            if full
            else f"{error.filename or 'A file'} cannot be used: {error.strerror or error}."
        )
        click.echo(f"Error: {said}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="python -m training")
