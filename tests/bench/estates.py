"""Estates of any size for benchmarks: two sites, one file per host with the machines placed there.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from controller.model.desired import Desired
from controller.source.load import load_folder

SITES = ("paris", "milan")
NETWORKS = 64
POLICIES = {"gold": "{rpo: 5m, keep: {last: 12, hourly: 24}, drill: 30d}", "silver": "{rpo: 1h}"}


def write_estate(folder: Path, hosts: int, vms: int) -> None:
    """Write an estate of `hosts` hosts at two sites that hold `vms` machines between them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "estate.yaml").write_text("---\n".join(
        [render_estate(), *map(render_site, SITES), *map(render_switch, SITES), LINK,
         *map(render_network, range(NETWORKS)), *map(render_policy, POLICIES)]))
    placed: list[list[str]] = [[] for _ in range(hosts)]
    for number in range(vms):
        placed[number % hosts].append(render_machine(number, hosts))
    for number, machines in enumerate(placed):
        text = "---\n".join([render_host(number), *machines])
        (folder / f"host-{number:04}.yaml").write_text(text)


def make_desired(hosts: int, vms: int) -> Desired:
    """Return the same estate, loaded."""
    with TemporaryDirectory() as folder:
        write_estate(Path(folder), hosts, vms)
        return load_folder(Path(folder), revision="bench")


def render_estate() -> str:
    """Return the Estate document."""
    return ("kind: Estate\nmetadata: {name: bench}\nspec:\n  autonomy: restart\n"
            "  ssh: {keyFile: /etc/hotsite/key, knownHosts: /etc/hotsite/known_hosts}\n")


def render_site(name: str) -> str:
    """Return one of the two sites."""
    twin = SITES[1 - SITES.index(name)]
    return f"kind: Site\nmetadata: {{name: {name}}}\nspec: {{twin: {twin}}}\n"


def render_switch(site: str) -> str:
    """Return the switch of a site."""
    return (f"kind: Switch\nmetadata: {{name: {site}-sw}}\nspec:\n  site: {site}\n"
            f"  address: {site}-sw.bench\n"
            "  ports: [{name: tr0, link: metro/1}, {name: tr1, link: metro/2}]\n")


LINK = "kind: InterSiteLink\nmetadata: {name: metro}\nspec: {between: [paris, milan], members: 2}\n"


def render_network(number: int) -> str:
    """Return one of the stretched networks."""
    return (f"kind: Network\nmetadata: {{name: net-{number:02}}}\nspec: {{vlan: {200 + number},"
            f" sites: [paris, milan], subnet: 10.{number}.0.0/16}}\n")


def render_policy(name: str) -> str:
    """Return one of the protection policies."""
    return f"kind: ProtectionPolicy\nmetadata: {{name: {name}}}\nspec: {POLICIES[name]}\n"


def site_of(number: int) -> str:
    """Return the site of a host: even numbers are in Paris."""
    return SITES[number % 2]


def render_host(number: int) -> str:
    """Return one host."""
    return (f"kind: Host\nmetadata: {{name: host-{number:04}}}\nspec:\n"
            f"  site: {site_of(number)}\n  address: 10.200.{number // 250}.{number % 250 + 1}\n"
            f"  replicationAddress: 10.201.{number // 250}.{number % 250 + 1}\n"
            "  uplinks: [up0, up1]\n  pools: [{name: default, path: /var/lib/libvirt/images}]\n"
            "  capacity: {memory: 256GiB, cpus: 64}\n")


def render_machine(number: int, hosts: int) -> str:
    """Return one machine, at the site of the host in whose file it stands."""
    mac = ":".join(f"{number >> shift & 255:02x}" for shift in (16, 8, 0))
    protection = "gold" if number % 3 else "silver"
    return (f"kind: VirtualMachine\nmetadata: {{name: vm-{number:06}, labels: {{tier: db}}}}\n"
            f"spec:\n  power: on\n  cpus: {1 + number % 4}\n  memory: {1 + number % 8}GiB\n"
            f"  disks: [{{name: vda, size: {10 + number % 40}GiB, pool: default}}]\n"
            f"  nics: [{{network: net-{number % NETWORKS:02}, mac: 52:54:00:{mac}}}]\n"
            f"  placement: {{site: {site_of(number % hosts)}, antiAffinity: [group-{number // 2}]}}"
            f"\n  protection: {protection}\n")
