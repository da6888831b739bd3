"""The table at the end of the demo: fault, noticed, healed, by which action, outcome."""

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.model.units import render_duration
from controller.reconcile.rehearsal import Scene


def closing_table(shell: Console, scenes: tuple[Scene, ...]) -> None:
    """Print how each act went, and how many were healed."""
    table = Table(title="What happened, and what became of it", title_justify="left",
                  header_style="bold", expand=shell.is_terminal)
    for heading in ("fault", "noticed", "healed", "by", "outcome"):
        table.add_column(heading, overflow="fold",
                         justify="right" if heading in {"noticed", "healed"} else "left")
    for scene in scenes:
        table.add_row(scene.act.title, after(scene.noticed_s, scene), after(scene.healed_s, scene),
                      by(scene), outcome(scene))
    if shell.is_terminal:
        shell.print(table)
    else:
        plain(shell, scenes)
    healed = sum(scene.healed for scene in scenes)
    twice = any(scene.twice and not scene.act.doubles for scene in scenes)
    shell.print("Two copies of one VM ran by what the loop did." if twice else
                "At no moment did two copies of one VM run, but for those made by hand.")
    shell.print(Text(f"{healed} of {len(scenes)} healed",
                     "bold green" if healed == len(scenes) else "bold red"))


def plain(shell: Console, scenes: tuple[Scene, ...]) -> None:
    """Print the table as columns of text, one line per act."""
    titles = max(len(scene.act.title) for scene in scenes)
    shell.print(f"\n{'fault':<{titles}}  {'noticed':>8}  {'healed':>7}  by; outcome")
    for scene in scenes:
        shell.print(f"{scene.act.title:<{titles}}  {after(scene.noticed_s, scene):>8}"
                    f"  {after(scene.healed_s, scene):>7}  {by(scene)}; {outcome(scene).plain}")


def after(instant_s: float | None, scene: Scene) -> str:
    """Return how long after the fault `instant_s` was."""
    return "never" if instant_s is None else render_duration(
        round(instant_s - scene.began_s, 1))


def by(scene: Scene) -> str:
    """Return the actions that healed the fault, in short."""
    verbs = Counter(action.partition(" ")[0] for action in scene.actions)
    if not verbs:
        return "somebody's hand" if scene.act.mends else "nothing to do"
    if len(scene.actions) == 1:
        return scene.actions[0]
    return ", ".join(verb if count == 1 else f"{count} x {verb}" for verb, count in verbs.items())


def outcome(scene: Scene) -> Text:
    """Return the outcome of the scene, in words."""
    if scene.twice and not scene.act.doubles:
        return Text(f"VMs THAT RAN TWICE: {len(scene.twice)}", "bold red")
    if not scene.healed:
        return Text("NOT HEALED", "bold red")
    text = Text("healed", "green")
    for note in (scene.act.lesson, *measured(scene)):
        if note:
            text.append(f"; {note}", "dim")
    return text


def measured(scene: Scene) -> tuple[str, ...]:
    """Return what was measured where a person ordered a failover, or the way back."""
    if not scene.act.orders or scene.healed_s is None or scene.ordered_s is None:
        return ()
    lost = () if scene.lost_s is None else (
        f"at most {render_duration(round(scene.lost_s))} of writes lost",)
    return (f"{render_duration(round(scene.healed_s - scene.ordered_s, 1))} after the last order",
            *lost)
