"""What libvirt says of the guests that a machine can run, in the words of virsh 9.0.0."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from controller.providers.libvirt.facts import parse_capabilities, parse_config
from controller.providers.libvirt.xml.xml import parse_xml

capabilities = import_module("guests.capabilities")

WHOLE = b"""<capabilities><host><cpu><arch>x86_64</arch><model>Skylake</model></cpu></host>
<guest><os_type>hvm</os_type><arch name='x86_64'><wordsize>64</wordsize>
<machine maxCpus='255'>pc-i440fx-7.2</machine>
<machine canonical='pc-i440fx-7.2' maxCpus='255'>pc</machine>
<machine canonical='pc-q35-7.2' maxCpus='288'>q35</machine></arch></guest></capabilities>"""
MODELS = b"""<domainCapabilities><os supported='yes'><enum name='firmware'/>
<loader supported='yes'><value>/usr/share/OVMF/OVMF_CODE_4M.fd</value>
<enum name='type'><value>rom</value><value>pflash</value></enum></loader></os><cpu>
<mode name='host-model' supported='yes'><model>Skylake</model></mode>
<mode name='custom' supported='yes'><model usable='no'>EPYC</model>
<model usable='yes'>qemu64</model><model usable='unknown'>Dhyana</model></mode></cpu>
</domainCapabilities>"""
DOMAIN = ("<domain><memory>1024</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='{0}'>hvm"
          "</type></os>{1}</domain>")


def test_machine_types_count_under_every_name_and_models_unless_they_cannot_be_had() -> None:
    assert capabilities.machines_of(WHOLE) == ["pc", "pc-i440fx-7.2", "pc-q35-7.2", "q35"]
    assert capabilities.models_of(MODELS) == ["Dhyana", "qemu64"]
    assert capabilities.models_of(b"") == []
    assert capabilities.loaders_of(MODELS, b"") == ["/usr/share/OVMF/OVMF_CODE_4M.fd"]


def test_an_answer_is_kept_and_none_is_told_as_such(monkeypatch: pytest.MonkeyPatch,
                                                    tmp_path: Path) -> None:
    virsh = tmp_path / "virsh"
    virsh.write_text("#!/bin/sh\necho >&2 'error: failed to connect'; exit 1\n")
    virsh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    host = capabilities.Capabilities()
    assert "failed to connect" in str(host.text())
    host.until = 0.0
    (tmp_path / "whole").write_bytes(WHOLE)
    (tmp_path / "models").write_bytes(MODELS)
    virsh.write_text('#!/bin/sh\ncase "$*" in *domcap*) exec cat "${0%/*}/models";;'
                     ' *) exec cat "${0%/*}/whole";; esac\n')
    told = host.text()
    assert parse_capabilities(told).models == ("Dhyana", "qemu64")
    assert parse_capabilities(told).loaders == ("/usr/share/OVMF/OVMF_CODE_4M.fd",)
    virsh.write_text("#!/bin/sh\nexit 1\n")
    assert host.text() == told
    assert "pc-q35-7.2" in json.loads(told)["machines"]


@pytest.mark.parametrize(("cpu", "model"), [
    ("", ""), ("<cpu mode='host-passthrough'/>", ""),
    ("<cpu mode='custom'><model fallback='forbid'>EPYC</model></cpu>", "EPYC"),
    ("<cpu mode='custom' check='partial'><model>EPYC</model></cpu>", "EPYC"),
    ("<cpu mode='custom' match='exact' check='none'><model>qemu64</model></cpu>", "")])
def test_what_a_guest_asks_for_is_in_its_definition(cpu: str, model: str) -> None:
    config = parse_config(parse_xml(DOMAIN.format("pc-q35-7.2", cpu)), {})
    assert (config.machine, config.cpu_model) == ("pc-q35-7.2", model)


def test_the_firmware_and_the_mode_of_the_processor_are_in_its_definition() -> None:
    text = DOMAIN.format("pc-q35-7.2", "<cpu mode='host-passthrough'/>").replace(
        "</os>", "<loader readonly='yes' type='pflash'>/usr/share/OVMF/OVMF_CODE_4M.fd</loader>"
                 "<nvram>/var/lib/libvirt/qemu/nvram/sql_VARS.fd</nvram></os>")
    config = parse_config(parse_xml(text), {})
    assert config.loader == "/usr/share/OVMF/OVMF_CODE_4M.fd"
    assert config.cpu_mode == "host-passthrough"
