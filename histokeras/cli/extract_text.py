"""What commands say about an extraction on stderr, and how they end."""

from typing import Any

import click


def say_prepared(prepared: Any) -> None:
    """Say which network, weights and tiles will be used, and what is done already.

    Args:
        prepared: A :class:`histokeras.features.job.Prepared`.
    """
    # Loads pandas, for which ``--help`` need not wait.
    from histokeras.cli import cohort_text

    plan, settings = prepared.plan, prepared.plan.settings
    mpp = f" at {settings['tile_mpp']:g} um/px" if "tile_mpp" in settings else ""
    stain = f", stain {settings['stain_norm']}" if "stain_norm" in settings else ""
    click.echo(
        f"backbone {settings['backbone']}, weights {prepared.weights.label}, tiles of "
        f"{settings['tile_size_px']} px{mpp}{stain}",
        err=True,
    )
    if prepared.weights.kind == "random":
        click.secho("Warning: random weights know nothing of images", fg="red", err=True)
    if settings["backbone"] == "mini" and prepared.weights.kind == "bundled":
        click.echo("Note: mini was trained on painted tissue alone: for trials", err=True)
    n_slides = len(plan.share.whole) + len(prepared.chosen.left_out)
    cohort_text.say_left_out(prepared.chosen, n_slides)
    for note in (*prepared.notes, *plan.notes):
        click.echo(f"Note: {note}", err=True)
    skipped = sum(row["outcome"] == "skipped" for row in plan.outcomes)
    if not plan.todo and plan.share.own:
        click.echo(f"{skipped} slide(s) are done and verified: nothing to do", err=True)
    elif skipped:
        click.echo(f"{skipped} slide(s) are done and verified, {len(plan.todo)} to do", err=True)


def say_description(described: dict[str, Any]) -> None:
    """Print a dry run: a line a slide, and the sum."""
    for row in described["rows"]:
        click.echo(f"{row['slide']}: {row['state']}, at most {row['tiles']} tiles")
    click.echo(
        f"{described['todo']} of {described['slides']} slides to do: at most {described['tiles']} "
        f"tiles, {described['bytes'] / 1e6:.1f} MB"
    )


def end(plan: Any, *, allow_empty: bool) -> None:
    """Say what failed and leave with exit code 4 if something did.

    Args:
        plan: The finished :class:`histokeras.features.plan.Plan`.
        allow_empty: Whether slides without tissue are no failure.
    """
    from histokeras.tiles.manifest import LEFT_OUT

    left = sum(row.get("stain_left", 0) for row in plan.outcomes)
    if left:
        click.echo(
            f"Note: the stain of {left} tile(s) cannot be estimated, they were left as they are; "
            "the column `stain` of tiles/*.csv says which and why",
            err=True,
        )
    spared = [row for row in plan.failures if row["code"] == LEFT_OUT]
    if spared:
        click.echo(
            f"Note: {len(spared)} corrupt tile(s) of {len({row['slide'] for row in spared})} "
            "slide(s) were left out (--max-bad-tiles), see failures.csv",
            err=True,
        )
    lost = {row["slide"] for row in plan.outcomes if row["outcome"] == "failed"}
    empty = {row["slide"] for row in plan.outcomes if row["outcome"] == "empty"}
    rows = [row for row in plan.failures if row["code"] != LEFT_OUT]
    rows = [row for row in rows if not (allow_empty and row["slide"] in empty)]
    if not rows:
        return
    n = len({row["slide"] for row in rows} & (lost | empty))
    tiles = sum(row["slide"] not in lost | empty for row in rows)
    parts = [f"{n} slide(s) without features"] if n else []
    parts += [f"{tiles} tile(s) left out"] if tiles else []
    click.secho(f"{', '.join(parts)}, see failures.csv:", fg="red", err=True)
    for row in rows[:20]:
        click.echo(f"  {row['slide']}: {row['code']} {row['message']} {row['hint']}", err=True)
    if len(rows) > 20:
        click.echo(f"  ... and {len(rows) - 20} more", err=True)
    raise click.exceptions.Exit(4)
