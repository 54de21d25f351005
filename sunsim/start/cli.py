"""The command line of `sunsim init` and `sunsim scenarios`."""

# Verbs import what they need when they run, as in sunsim.cli.
# ruff: noqa: PLC0415

from typing import Annotated

import typer

from sunsim.visible import visible


def init(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="Of the scenario.", show_default=True)] = "my-models",
) -> None:
    """Write NAME.yaml, a scenario that runs as it is and explains its keys, to be changed to yours."""
    from sunsim.start.new import write_scenario

    typer.echo(visible(write_scenario(name)))


def scenarios() -> None:
    """List the shipped scenarios; each verb that takes a file takes one of their names too."""
    from sunsim.report.terminal import say
    from sunsim.start.listing import scenarios_report

    say(scenarios_report().blocks)
