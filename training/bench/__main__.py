"""The command: python -m training.bench measures a whole tile against its bare parts and against other programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import click

from ..__main__ import one_sentence
from .measure import REPOSITORY
from .scenes import TILE_SIZE, make_products, make_tiles

T = TypeVar("T")
_FOLDER = click.Path(path_type=Path, file_okay=False)
_SMALLEST = 512


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--size", type=click.IntRange(_SMALLEST), default=TILE_SIZE, show_default=True, help="Side of the tile, pixels.")
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="Rounds in which all rows are measured.")
@click.option("--jpeg2000/--no-jpeg2000", default=True, show_default=True, help="The pair as products in JPEG 2000, too.")
@click.option(
    "--steady",
    type=click.FloatRange(0, min_open=True),
    default=2.0,
    show_default=True,
    help="Seconds for which a share of the work is measured, where that is scaled up.",
)
@click.option(
    "--folder",
    type=_FOLDER,
    default=REPOSITORY / "build" / "bench",
    help="Of the pair, which is kept: about 7 GB, and 5 more while Orfeo Toolbox runs.  [default: build/bench]",
)
@click.option("--report", type=_FOLDER, default=REPOSITORY / "docs", help="Folder of page and picture.  [default: docs]")
@click.pass_context
def main(context: click.Context, size: int, repeats: int, jpeg2000: bool, steady: float, folder: Path, report: Path) -> None:
    """Measure a whole tile, and write the page with the tables and the picture."""
    if context.invoked_subcommand is not None:
        return
    if size % 12:
        raise click.UsageError(
            f"--size is {size} and must be a multiple of 12, so that a sixteenth of the tile can be cut and pixels of 60 m cover it."
        )
    from . import peers
    from .report import write_report
    from .rounds import measure_round

    with one_sentence():
        folder = folder.resolve()
        missing = {name: how for name in peers.PEERS if (how := peers.missing(name))}
        for name, how in missing.items():
            click.echo(f"Left out, because it is not installed: {peers.PEERS[name]}. To have it: {how}", err=True)
        tiles = make_tiles(folder, size, walk)
        if jpeg2000:
            tiles["jp2"] = make_products(folder, tiles["1"], walk)
        rounds = []
        for number in range(repeats):
            found = {}
            for row, measure in measure_round(tiles, folder / "results", number, steady):
                found[row] = measure()
                click.echo(f"Round {number + 1} of {repeats}, {row}: {found[row].seconds:.1f} s", err=True)
            rounds.append(found)
            # After each, so that an interruption leaves what was measured.
            page = write_report(rounds, size, missing, report)
        click.echo(page.read_text(encoding="utf-8"))


@main.command(hidden=True)
@click.argument("name")
@click.argument("arguments", nargs=-1)
def part(name: str, arguments: tuple[str, ...]) -> None:
    """Measure one bare part in this process, and say it as JSON."""
    from .parts import run_part

    click.echo(json.dumps(run_part(name, arguments)))


@main.command(hidden=True)
@click.argument("name")
@click.argument("before", type=click.Path(path_type=Path))
@click.argument("after", type=click.Path(path_type=Path))
def peer(name: str, before: Path, after: Path) -> None:
    """Run one of the other loops in this process, and say its seconds as JSON."""
    from .peers import run_peer

    click.echo(json.dumps(run_peer(name, before, after)))


def walk(items: Sequence[T], label: str) -> Iterator[T]:
    """Walk items behind a progress bar."""
    with click.progressbar(items, label=f"{label:28}", file=sys.stderr) as bar:
        yield from bar


if __name__ == "__main__":
    main(prog_name="python -m training.bench")
