"""Doctor: on a sound estate nothing is found; each planted fault is, with a command that mends it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from controller.adoption.doctor.apparmor import may_read
from controller.adoption.doctor.checkup import Checkup, Ward
from controller.adoption.doctor.estate import judge
from controller.adoption.doctor.finding import Level
from controller.adoption.host_keys import Belief, HostKey, KeyVerdict
from controller.model.facts import Fact, InterfaceFacts, Known, NodeFacts, PoolFacts, Unknown
from controller.model.failover.capabilities import Capabilities
from controller.model.failover.power import PowerFacts
from controller.model.host import BmcSpec
from tests.plan import builders as b

HERE, THERE = "paris-1", "milan-1"
PROFILE = "  /**.qcow{,2} r,\n  /{media,mnt,opt,srv}/** r,\n  /**.[rR]aw r,\n"
SOUND: dict[str, Any] = {
    "account": {"uid": 0, "user": "root", "shell": "/bin/bash", "sudo": None},
    "libvirt": {"sockets": ["libvirtd"], "answers": True, "status": 0, "error": ""},
    "apparmor": {"on": True, "profile": PROFILE},
    "sshd": {"maxsessions": "10"}, "kvm": {"is": "device"},
    "programs": {"missing": [], "installer": "apt-get"},
    "own name": {"addresses": ["10.0.0.1"]}, "root's key": {"key": "ssh-ed25519 AAAA root@here"},
    "time service": {"service": "chrony"}, "firewall": {"tool": ""},
    "room /pool": {"total_bytes": 100, "free_bytes": 50, "free_inodes": 50, "inodes": 100,
                   "readonly": False},
}


def pair(peer: str) -> dict[str, Any]:
    """Sound probes towards a peer."""
    return {f"ssh {peer}": {"status": 0, "error": ""}, f"port {peer}": {"result": "refused"},
            f"path {peer}": {"result": "open"},
            f"mtu {peer}": {"device": "eth0", "mtu": 1500, "passes": 1500}}


DESIRED = b.small(b.vm("web", protection="gold", placement={"host": HERE}))


def ward() -> Ward:
    """Two hosts at two sites, in order."""
    config = replace(b.config_of("web", HERE, DESIRED), machine="pc-q35-7.2")
    observed = b.with_domain(b.as_declared(DESIRED, {"web": HERE}), HERE, "web",
                             b.domain("web", HERE, DESIRED, live=config, config=config))
    checkups = {}
    for name, peer in ((HERE, THERE), (THERE, HERE)):
        fact = observed.nodes[name]
        assert isinstance(fact, Known)
        pools = {"default": PoolFacts("default", "/pool", True, 100, 50)}
        facts = replace(fact.value, pools=Known(pools, 0.0), interfaces=Known({}, 0.0),
                        clock_offset_s=0.1,
                        capabilities=Known(Capabilities(("pc-q35-7.2",), ()), 0.0))
        spec = DESIRED.hosts[name].spec
        checkups[name] = Checkup(
            name, spec, "root", 22, KeyVerdict(Belief.BELIEVED, ""), Known(facts, 0.0),
            HostKey("ssh-ed25519", "AAAA", "SHA256:a"), {**SOUND, **pair(peer)}, (3, 11, 2), name,
            power=None, known_hosts="/etc/known", key_file="/etc/key")
    return Ward(DESIRED, checkups)


def with_host(given: Ward, name: str = HERE, **changes: Any) -> Ward:
    """The same with one host changed."""
    return replace(given, checkups={**given.checkups,
                                    name: replace(given.checkups[name], **changes)})


def with_probe(name: str, **found: Any) -> Ward:
    """A sound estate with one probe of one host changed."""
    one = ward().checkups[HERE]
    before = one.probes.get(name, {})
    return with_host(ward(), probes={**one.probes, name: {**before, **found}})


def with_shell(path: str) -> Ward:
    """A sound estate where an account has another login shell."""
    found = {"shell": path}
    return with_probe("account", **found)


def with_facts(change: Callable[[NodeFacts], NodeFacts], name: str = HERE) -> Ward:
    """A sound estate with the facts of one host changed."""
    fact = ward().checkups[name].facts
    assert isinstance(fact, Known)
    return with_host(ward(), name, facts=Known(change(fact.value), 0.0))


def test_a_sound_estate_has_no_finding() -> None:
    assert judge(ward()) == []


def hung() -> Ward:
    """A libvirt that answered nothing."""
    silent = with_facts(lambda facts: replace(facts, domains=Unknown("no answer", 0.0)))
    probes = silent.checkups[HERE].probes
    return with_host(silent, probes={**probes, "libvirt": {
        **probes["libvirt"], "answers": False, "sockets": ["virtqemud"], "status": 124}})


ASK = KeyVerdict(Belief.ASK, "it is known nowhere")
REVOKED = KeyVerdict(Belief.REFUSED, "it is revoked", revoked=True)
CHANGED = KeyVerdict(Belief.REFUSED, "it shows another")
OWN = InterfaceFacts("br0", (f"{DESIRED.hosts[HERE].spec.address}/24",), kind="openvswitch")
FAULTS: dict[str, tuple[Ward, Level, str, str]] = {
    "unknown key": (with_host(ward(), key=ASK), Level.STOPS, "host key",
                    ">>/etc/known   # only once"),
    "changed key": (with_host(ward(), key=CHANGED), Level.STOPS, "host key",
                    "ssh-keygen -R"),
    "revoked key": (with_host(ward(), key=REVOKED), Level.STOPS, "host key", "ssh-keygen -A"),
    "no login": (with_host(ward(), facts=Unknown("refused", 0.0), python=(), probes={},
                           trouble="refused the login"), Level.STOPS, "login",
                 "ssh-copy-id -i /etc/key -p 22 "),
    "old python": (with_host(ward(), python=(3, 7, 1)), Level.STOPS, "python", "3.9"),
    "no sudo": (with_probe("account", uid=1000, user="ops", sudo=False), Level.STOPS, "account",
                "hotsite sudoers"),
    "no shell": (with_shell("/usr/sbin/nologin"), Level.STOPS, "shell",
                 "usermod"),
    "fish": (with_shell("/usr/bin/fish"), Level.NOTE, "shell", "usermod"),
    "no libvirt": (with_probe("libvirt", answers=False, sockets=[], status=1), Level.STOPS,
                   "libvirt", "systemctl enable --now libvirtd.socket"),
    "no modular libvirt": (with_probe("libvirt", answers=False, sockets=[], status=1,
                                      daemons=["virtqemud"]), Level.STOPS, "libvirt",
                           "systemctl enable --now virtqemud.socket"),
    "a libvirt that has just begun": (with_probe(
        "libvirt", answers=False, sockets=["libvirtd"], status=124, began_s=4.0), Level.UNKNOWN,
        "libvirt", "hotsite doctor"),
    "hung libvirt": (hung(), Level.STOPS, "libvirt", "systemctl restart virtqemud"),
    "slow libvirt": (with_probe("libvirt", answers=False, sockets=["virtqemud"], status=124,
                                error="virsh did not answer within 4 s"),
                     Level.UNKNOWN, "libvirt", "hotsite doctor"),
    "no virsh": (with_probe("libvirt", answers=False, sockets=[], status=127), Level.STOPS,
                 "libvirt", "apt-get install"),
    "old libvirt": (with_facts(lambda facts: replace(facts, versions={"libvirt": "6.0.0"})),
                    Level.STOPS, "libvirt", "upgrade"),
    "apparmor": (with_probe("apparmor", profile="/var/lib/libvirt/images/** r,"), Level.HURTS,
                 "apparmor", "apparmor_parser"),
    "no qemu-utils": (with_probe("programs", missing=["qemu-img", "qemu-nbd"]), Level.HURTS,
                      "programs", "apt-get install qemu-utils"),
    "no ssh": (with_probe("programs", missing=["ssh"], installer="dnf"), Level.HURTS, "programs",
               "dnf install openssh-clients"),
    "no qemu-img, and nothing installs it": (with_probe(
        "programs", missing=["qemu-img"], installer=""), Level.HURTS, "programs", "install them"),
    "kvm is a file": (with_probe("kvm", **{"is": "file"}), Level.STOPS, "kvm", "rm /dev/kvm"),
    "kvm is a file, and its module is loaded": (with_probe(
        "kvm", **{"is": "file", "module": "kvm_intel", "loaded": True}), Level.STOPS, "kvm",
        "rm /dev/kvm && mknod -m 660 /dev/kvm c 10 232"),
    "no kvm": (with_probe("kvm", **{"is": "absent", "module": "kvm_amd"}), Level.NOTE, "kvm",
               "modprobe kvm_amd"),
    "no virtualisation": (with_probe("kvm", **{"is": "absent", "module": ""}), Level.NOTE, "kvm",
                          "firmware"),
    "a domain that hangs": (with_facts(lambda facts: replace(facts, domains=Known({"it's": replace(
        b.domain("web", HERE, DESIRED), live=None, config=None, unknown="no answer")}, 0.0))),
        Level.HURTS, "domain", r"virsh domjobinfo 'it'\''s'"),
    "no pool": (with_host(with_facts(lambda facts: replace(facts, pools=Known({}, 0.0))),
                          spec=DESIRED.hosts[HERE].spec.model_copy(update={"pools": ()})),
                Level.HURTS, "pool", "virsh pool-define-as default dir"),
    "a pool that could not be read": (with_host(with_facts(lambda facts: replace(
        facts, pools=Known({"x": PoolFacts("x", "", False, 0, 0, unknown="slow")}, 0.0),
        versions={"libvirt": "11.3.0"})),
        spec=DESIRED.hosts[HERE].spec.model_copy(update={"pools": ()})), Level.NOTE, "versions",
        ""),
    "a pool that is off": (with_facts(lambda facts: replace(facts, pools=Known({
        "default": PoolFacts("default", "/var/lib/libvirt/images", False, 1, 1)}, 0.0))),
        Level.HURTS, "pool", "virsh pool-start default"),
    "clock": (with_facts(lambda facts: replace(facts, clock_offset_s=-10800.0)), Level.HURTS,
              "clock", "systemctl restart chrony"),
    "full": (with_probe("room /pool", free_bytes=5), Level.HURTS, "room", "du -axh /pool"),
    "read-only": (with_probe("room /pool", readonly=True), Level.STOPS, "room", "remount"),
    "inodes": (with_probe("room /pool", free_inodes=1), Level.HURTS, "room", "du -x --inodes"),
    "sessions": (with_probe("sshd", maxsessions="2"), Level.HURTS, "sessions", "MaxSessions"),
    "unknown host key between": (with_probe(f"ssh {THERE}", status=255,
                                            error="Host key verification failed."),
                                 Level.HURTS, "key exchange", "/root/.ssh/known_hosts"),
    "no key between": (with_probe(f"ssh {THERE}", status=255,
                                  error="root@x: Permission denied (publickey)."),
                       Level.HURTS, "key exchange",
                       "echo 'ssh-ed25519 AAAA root@here' >>/root/.ssh/authorized_keys"),
    "an account between that may not use libvirt": (
        with_probe(f"ssh {THERE}", status=1, error=""), Level.HURTS, "key exchange",
        "usermod -aG libvirt root"),
    "ports": (with_probe(f"port {THERE}", result="silent"), Level.HURTS, "ports",
              "let paris-1 reach TCP port 49152-49215 of milan-1"),
    "path": (with_probe(f"path {THERE}", result="silent"), Level.STOPS, "replication path",
             "reach TCP port 22"),
    "mtu": (with_probe(f"mtu {THERE}", mtu=9000, passes=1500), Level.HURTS, "mtu", "ip link set"),
    "dns": (with_probe("dns milan-1", addresses=[], error="unknown"), Level.STOPS, "dns",
            "into /etc/hosts"),
    "uplink": (with_facts(lambda facts: replace(facts, interfaces=Known({"br0": OWN}, 0.0))),
               Level.HURTS, "uplinks", "nativeVlan"),
    "portability": (with_facts(lambda facts: replace(
        facts, capabilities=Known(Capabilities(("pc-i440fx-5.2",), ()), 0.0)), THERE),
        Level.HURTS, "portability", "virsh domcapabilities"),
    "versions": (with_facts(lambda facts: replace(facts, versions={"libvirt": "11.3.0"}), THERE),
                 Level.NOTE, "versions", ""),
}
SAID = {"no qemu-img, and nothing installs it", "old python", "old libvirt", "no virtualisation",
        "ports", "path", "dns", "uplink", "portability", "versions",
        "a pool that could not be read"}
"""Faults that no one command mends: what to do is said."""
ONLY_HELP = {"own name", "root's key", "time service", "firewall"}
"""Probes that find nothing wrong: what they tell is part of a remedy."""


@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_is_found_alone_with_its_remedy(name: str) -> None:
    planted, level, check, mend = FAULTS[name]
    found = [one for one in judge(planted) if level is Level.NOTE or one.level is not Level.NOTE]
    assert [(one.level, one.check) for one in found] == [(level, check)]
    assert mend in found[0].mend
    assert all(one.what and one.consequence for one in found)


@pytest.mark.parametrize("probe", [*SOUND, f"ssh {THERE}", f"port {THERE}", f"path {THERE}",
                                   f"mtu {THERE}"])
def test_a_probe_that_could_not_be_made_proves_nothing_and_says_so(probe: str) -> None:
    one = ward().checkups[HERE]
    found = judge(with_host(ward(), probes={**one.probes, probe: {"unknown": "it hung"}}))
    assert probe in ONLY_HELP or [item.level for item in found] == [Level.UNKNOWN]
    assert all("it hung" in item.what for item in found)


BMC = BmcSpec.model_validate({"url": "https://bmc", "credentials": {"file": "/etc/bmc.json"}})


@pytest.mark.parametrize("power", [
    Known(PowerFacts("", refusal="it switches another machine"), 0.0),
    Unknown("it refused the login", 0.0), None])
def test_a_bmc_that_cannot_be_used_is_found(power: Fact[PowerFacts] | None) -> None:
    spec = DESIRED.hosts[HERE].spec.model_copy(update={"bmc": BMC})
    found = judge(with_host(ward(), spec=spec, power=power))
    assert [(one.level, one.check) for one in found] == [(Level.HURTS, "bmc")]
    assert "/etc/bmc.json" in found[0].mend


def test_a_bmc_that_answers_is_in_order() -> None:
    spec = DESIRED.hosts[HERE].spec.model_copy(update={"bmc": BMC})
    assert judge(with_host(ward(), spec=spec, power=Known(PowerFacts("On"), 0.0))) == []


def test_autostart_of_a_vm_that_may_fail_over_by_itself_is_found() -> None:
    policy = b.document("ProtectionPolicy", "gold", rpo="5m", failover="automatic")
    desired = replace(DESIRED, protection_policies={"gold": policy})

    def starting(facts: NodeFacts) -> NodeFacts:
        assert isinstance(facts.domains, Known)
        domain = replace(facts.domains.value["web"], autostart=True)
        return replace(facts, domains=Known({"web": domain}, 0.0))

    assert judge(with_facts(starting)) == []
    found = judge(replace(with_facts(starting), desired=desired))
    assert [one.check for one in found] == ["autostart"]
    assert "virsh autostart --disable web" in found[0].mend


def test_a_clock_is_as_right_as_it_could_be_read() -> None:
    late = with_facts(lambda facts: replace(facts, clock_offset_s=4.0, clock_error_s=4.5))
    assert judge(late) == []


@pytest.mark.parametrize(("found", "command"), [
    ({"tool": "ufw"}, "ufw allow proto tcp from 10.9.0.1 to any port 49152:49215"),
    ({"tool": "firewalld"}, "firewall-cmd --permanent --add-port=49152-49215/tcp && firewall-cmd"
                            " --reload"),
    ({"tool": "nft", "chains": ["inet filter input"]}, "nft insert rule inet filter input ip saddr"
     " 10.9.0.1 tcp dport 49152-49215 accept   # and in /etc/nftables.conf, for the next boot"),
])
def test_ports_are_opened_in_the_firewall_that_is_there(found: dict[str, Any],
                                                        command: str) -> None:
    blocked = with_probe(f"port {THERE}", result="silent")
    here, there = blocked.checkups[HERE], blocked.checkups[THERE]
    blocked = with_host(blocked, spec=here.spec.model_copy(
        update={"replication_address": "10.9.0.1"}))
    (one,) = judge(with_host(blocked, THERE, probes={**there.probes, "firewall": found}))
    assert (one.typed_on, one.mend) == (THERE, command)


def test_a_clock_that_nothing_keeps_is_set_from_here_by_the_login_that_works() -> None:
    unkept = with_probe("time service", service="")
    late = with_host(unkept, user="ops", facts=with_facts(
        lambda facts: replace(facts, clock_offset_s=-10800.0)).checkups[HERE].facts)
    (one,) = judge(late)
    assert one.typed_on == "here"
    assert one.mend.startswith("ssh ops@paris-1 sudo date -u -s @$(date +%s) ")


@pytest.mark.parametrize("name", FAULTS)
def test_a_command_says_where_it_is_typed(name: str) -> None:
    one = judge(FAULTS[name][0])[0]
    assert one.typed_on in {"", "here", HERE, THERE}
    assert bool(one.typed_on) == (name not in SAID), one.mend


def test_findings_come_the_worst_first() -> None:
    both = with_host(with_probe("sshd", maxsessions="2"), THERE, key=CHANGED)
    levels = [one.level for one in judge(both)]
    assert levels == sorted(levels, key=lambda level: level.rank)
    assert len(levels) > 1


@pytest.mark.parametrize(("rule", "path", "fit"), [
    ("/srv/** r,", "/srv/a/b.raw", True), ("/srv/* r,", "/srv/a/b.raw", False),
    ("/**.qcow{,2} r,", "/pool/x.qcow2", True), ("/**.qcow{,2} r,", "/pool/x.raw", False),
    ("deny /srv/** r,\n/** r,", "/srv/a", False), ("/srv/** w,", "/srv/a", False),
    ("/srv/[ab]? rwk,", "/srv/ax", True), ("# /srv/** r,", "/srv/a", False),
    ('"/srv/a b" r,', "/srv/a b", False), ("@{HOME}/** r,", "/root/x", False),
])
def test_rules_of_apparmor_are_read_as_it_reads_them(rule: str, path: str, fit: bool) -> None:
    assert may_read(rule, path) is fit

