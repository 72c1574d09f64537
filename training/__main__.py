"""The commands: python -m training prepare, train, evaluate, export, simulate."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from s2change_plugin.engine.errors import S2ChangeError

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
            click.echo(f"{found['city']:12} {height:5} x {width:<5} {100 * found['changed_share']:5.2f} % changed. {found['shift']['text']}")


@contextmanager
def one_sentence() -> Iterator[None]:
    """End with 1 and one sentence where the user can put it right; a bug keeps its traceback."""
    try:
        yield
    except S2ChangeError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="python -m training")
