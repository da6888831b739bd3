"""The specs that a scenario is played with, and what is done to them."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]


def prepared(folder: Path, work: Path) -> tuple[Path, list[str], Mapping[str, str]]:
    """Return a copy of the scenario's specs, with its overrides, its commands, and its settings."""
    lines = [line for line in (folder / "commands").read_text().splitlines()
             if line and not line.startswith("#")]
    settings = {}
    while lines and not lines[0][0].isdigit():
        key, _, value = lines.pop(0).partition(" ")
        settings[key] = value
    specs = work / "specs"
    shutil.copytree(ROOT / settings.get("estate", "specs"), specs)
    _protect_only(specs, settings.get("replicas", "of").split()[1:])
    if "place" in settings:
        _fail_over_by_itself(specs)
    if "lease" in settings:
        estate = specs / "estate/lab.yaml"
        estate.write_text(f"{estate.read_text().rstrip()}\n    lease: {{ttl: {settings['lease']}}}"
                          "\n")
    if "moves" in settings:
        policy = specs / "protection_policy/gold.yaml"
        policy.write_text(f"{policy.read_text().rstrip()}\n  move: {{{settings['moves']}}}\n")
    if "healthy" in settings:
        _ask_guests(specs, settings["healthy"])
    if "autonomy" in settings:
        path = specs / "estate" / "lab.yaml"
        text = [line if "autonomy:" not in line else f"  autonomy: {settings['autonomy']}"
                for line in path.read_text().splitlines()]
        path.write_text("\n".join(text) + "\n")
    return specs, lines, settings


def rename(specs: Path, kind: str, old: str, new: str) -> None:
    """Give an object another name wherever the specs name it, and say what it was called."""
    (specs / kind / f"{old}.yaml").rename(specs / kind / f"{new}.yaml")
    for path in specs.rglob("*.yaml"):
        text = re.sub(rf"(?<![\w.-]){old}(?![\w.-])", new, path.read_text())
        if path.parent.name == kind and path.stem == new:
            text = text.replace("\nspec: {", f"\nspec: {{formerly: {old}, ").replace(
                "\nspec:\n", f"\nspec:\n  formerly: {old}\n")
        path.write_text(text)


def _fail_over_by_itself(specs: Path) -> None:
    """Declare a witness and guards, and let the protected VMs fail over without a person."""
    (specs / "witness").mkdir(exist_ok=True)
    (specs / "witness/hq.yaml").write_text(
        "kind: Witness\nmetadata: {name: hq}\nspec: {address: 10.77.0.4, place: hq}\n")
    estate = specs / "estate/lab.yaml"
    estate.write_text(estate.read_text().rstrip() + "\n  failover:\n    guard: {keyFile: /k}\n")
    policy = specs / "protection_policy/gold.yaml"
    policy.write_text(policy.read_text().replace(
        "failover: confirm", "failover: automatic\n  isolation: stop"))


def _ask_guests(specs: Path, health: str) -> None:
    """Declare what proves that the protected VMs serve, and at which addresses they are asked."""
    policy = specs / "protection_policy/gold.yaml"
    policy.write_text(policy.read_text().rstrip() + f"\n  health: {{{health}}}\n")
    for path in sorted((specs / "virtual_machine").glob("*.yaml")):
        text = path.read_text()
        path.write_text(re.sub(r"(mac: [0-9a-f:]+)\}\] # ([0-9.]+)", r"\1, address: \2}]", text))


def _protect_only(specs: Path, machines: list[str]) -> None:
    """Take the protection from every VM but these."""
    for path in specs.rglob("*.yaml"):
        text = path.read_text()
        if path.stem not in machines and "\n  protection: " in text:
            path.write_text("".join(line for line in text.splitlines(keepends=True)
                                    if not line.startswith("  protection: ")))
