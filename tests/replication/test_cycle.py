"""One restore point by played movers: the order of the steps, and what each failure leaves."""

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest

from controller.errors import OutcomeUnknown, Refused, Unavailable
from controller.model.replica import CLUSTER_BYTES
from controller.plan.actions.replica import CopyMode, DiskCopy, RateLimit
from controller.replication.copy_plan import SLACK_S, time_limit_s
from controller.replication.target_host import parse_missing
from tests.replication.movers import (
    MIB,
    ORIGIN,
    Broken,
    Hosts,
    action,
    begun,
    disk_told,
    hands,
    made,
    opened,
    sent,
)


def make(hosts: Hosts, **changes: Any) -> str:
    """Make the point."""
    return asyncio.run(hands(hosts).apply(action(**changes)))


def broken(status: int, sentence: str) -> Any:
    """Return a verb that fails."""
    def fail(request: Any) -> Any:
        raise Broken(status, sentence)
    return fail


def test_an_increment_goes_in_the_one_safe_order() -> None:
    hosts = Hosts()
    assert make(hosts) == ("made restore point 2 of sql on milan-1: vda: 2MiB changed"
                           " (1MiB on the wire)")
    assert hosts.verbs() == ["probe", "probe", "replica-make", "begin", "incoming-open",
                             "authorize", "send", "end", "incoming-settle", "deauthorize",
                             "publish", "drop"]
    assert hosts.request("publish")["reread"] == "no", "it has been settled"
    published = hosts.request("publish")
    assert (published["started_at"], published["checkpoint"]) == (999.5, "hotsite-000002-0c5a")
    assert hosts.request("drop") == ["hotsite-000002-0c5a"]
    assert hosts.request("begin")["since"] == "hotsite-000001-0c5a"
    assert hosts.request("begin")["keep"] == ["hotsite-000001-0c5a"]
    names = {hosts.request("begin")["checkpoint"], begun_anew()["checkpoint"]}
    assert all(re.fullmatch(r"hotsite-000002-[0-9a-f]{8}", name) for name in names)
    assert len(names) == 2, "no two attempts make a checkpoint of one name"


def begun_anew() -> Any:
    """Return how another attempt at the same point begins."""
    hosts = Hosts()
    make(hosts)
    return hosts.request("begin")


def test_what_the_disks_lay_in_is_told_to_the_next_copy_and_what_was_sent_since() -> None:
    def copies(hosts: Hosts) -> tuple[Any, Any]:
        make(hosts)
        return hosts.request("begin"), hosts.request("publish")

    told = made(1, sent={"vda": "eJw="})
    told["replica"]["points"][0]["facts"] = {"origins": {"vda": ORIGIN}, "run": "r1"}
    began, published = copies(Hosts(replica_make=lambda _: told))
    assert (began["origins"], began["run"]) == ({"vda": ORIGIN}, "r1")
    assert (began["sent"], began["unbroken"]) == ({"vda": "eJw="}, False)
    assert published["facts"] == {"origins": {"vda": ORIGIN}, "run": "r1"}
    assert published["changed"] == {}
    hosts = Hosts(begin=lambda _: begun(
        state="off", disks={"vda": disk_told(changed="eJw=")}))
    assert copies(hosts)[1]["changed"] == {"vda": "eJw="}
    assert "manifest-out" not in hosts.verbs(), "nothing of it was sent before"


def test_what_was_sent_since_the_checkpoint_is_not_sent_again() -> None:
    hosts = Hosts(replica_make=lambda _: made(1, sent={"vda": "eJw="}),
                  begin=lambda _: begun(state="off"))
    make(hosts)
    assert "manifest-out" in hosts.verbs()
    sending = hosts.request("send")
    assert (sending["mode"], bool(sending["known"])) == ("increment", True)


@pytest.mark.parametrize(("beyond", "changed"), [(False, "eJw="), (True, None)])
def test_the_holes_of_a_disk_that_no_guest_held_are_compared(
        *, beyond: bool, changed: str | None) -> None:
    hosts = Hosts(send=lambda _: sent(beyond=beyond), begin=lambda _: begun(
        state="off", disks={"vda": disk_told(changed="eJw=", dirty_bytes=0, holes=True)}))
    make(hosts)
    assert "manifest-out" in hosts.verbs()
    sending = hosts.request("send")
    assert (sending["mode"], sending["holes"], bool(sending["known"])) == ("increment", True, True)
    assert hosts.request("publish")["changed"] == {"vda": changed}


def test_a_checkpoint_whose_name_could_be_another_s_is_not_built_on() -> None:
    told = made(1)
    told["replica"]["points"][0]["checkpoint"] = "hotsite-000001"
    hosts = Hosts(replica_make=lambda _: told)
    make(hosts)
    began = hosts.request("begin")
    assert (began["since"], began["modes"], began["keep"]) == ("", {"vda": "scan"}, [])


@pytest.mark.parametrize(("quiesced", "said"), [
    (True, "on milan-1, at rest: vda"), (False, "not quiesced: it was saved")])
def test_a_vm_that_is_off_is_at_rest_only_if_it_was_shut_down(*, quiesced: bool, said: str) -> None:
    hosts = Hosts(begin=lambda _: begun(
        state="off", quiesced=quiesced, unquiesced_because="" if quiesced else "it was saved"))
    made_sentence = make(hosts)
    assert said in made_sentence
    assert ("at rest" in made_sentence) is quiesced
    assert hosts.request("publish")["quiesced"] is quiesced


def test_the_private_key_goes_to_the_sender_alone() -> None:
    hosts = Hosts()
    make(hosts)
    told = [verb for _, verb, request in hosts.asked if "PRIVATE" in str(request)]
    assert told == ["send"]


def test_nothing_changed_costs_no_transfer() -> None:
    hosts = Hosts(begin=lambda _: begun(disks={"vda": disk_told(dirty_bytes=0)}))
    assert "nothing had changed" in make(hosts)
    assert "send" not in hosts.verbs()
    assert hosts.request("publish")["disks"] == {"vda": {"unchanged": True}}


def test_a_cut_transfer_ends_the_job_takes_the_key_back_and_publishes_nothing() -> None:
    hosts = Hosts(send=broken(2, "the other end is gone"))
    with pytest.raises(Unavailable, match="no restore point of sql was made on milan-1: the other"):
        make(hosts)
    assert hosts.verbs()[-2:] == ["end", "deauthorize"]
    assert "publish" not in hosts.verbs()


def test_where_something_changed_last_time_the_way_is_made_while_the_copy_begins() -> None:
    hosts = Hosts(replica_make=lambda _: made(1, busy=True))
    make(hosts)
    assert hosts.verbs()[3:6] == ["begin", "authorize", "incoming-open"]
    assert hosts.verbs().count("authorize") == hosts.verbs().count("send") == 1


def test_a_way_made_for_nothing_is_taken_back() -> None:
    hosts = Hosts(replica_make=lambda _: made(1, busy=True),
                  begin=lambda _: begun(disks={"vda": disk_told(dirty_bytes=0)}))
    assert "nothing had changed" in make(hosts)
    assert hosts.verbs()[3:7] == ["begin", "authorize", "end", "deauthorize"]


def test_a_way_that_cannot_be_made_ends_the_copy_that_was_beginning_meanwhile() -> None:
    hosts = Hosts(replica_make=lambda _: made(1, busy=True), authorize=broken(2, "it is full"))
    with pytest.raises(Unavailable, match="it is full"):
        make(hosts)
    assert hosts.verbs()[3:] == ["begin", "authorize", "deauthorize", "end"]


def test_the_job_is_ended_once_while_the_rest_is_still_being_written() -> None:
    hosts = Hosts()
    make(hosts)
    assert hosts.verbs().count("end") == 1
    assert hosts.verbs().index("end") < hosts.verbs().index("incoming-settle")


def test_what_does_not_settle_is_not_published() -> None:
    hosts = Hosts(incoming_settle=broken(2, "3 clusters of disk vda are not what was received"))
    with pytest.raises(Unavailable, match="3 clusters of disk vda"):
        make(hosts)
    assert "publish" not in hosts.verbs()
    assert hosts.verbs().count("end") == 1


def test_an_unknown_end_before_publishing_is_known_to_have_published_nothing() -> None:
    with pytest.raises(Unavailable, match="the restore points are as they were"):
        make(Hosts(send=broken(137, "killed")))


def test_an_unknown_end_of_publishing_is_unknown() -> None:
    hosts = Hosts(publish=broken(3, "the line broke"))
    with pytest.raises(OutcomeUnknown):
        make(hosts)
    assert "drop" not in hosts.verbs()


def test_a_full_disk_drops_what_came_and_is_refused() -> None:
    hosts = Hosts(send=broken(2, "no room left for /images"))
    with pytest.raises(Refused, match="the disk of milan-1 is full"):
        make(hosts)
    assert hosts.request("incoming-drop")["disks"] == ["vda"]


def test_a_job_that_the_host_ended_says_why() -> None:
    hosts = Hosts(send=broken(2, "cut"), end=lambda _: {
        "reason": "the scratch holds 9 MiB, of 10 MiB allowed", "was": "ended", "incident": ""})
    with pytest.raises(Unavailable, match="because the scratch holds 9 MiB.*not touched"):
        make(hosts)


def test_a_guest_that_was_resumed_is_told_of() -> None:
    hosts = Hosts(end=lambda _: {"reason": "asked", "was": "ended", "incident": "it was resumed"})
    assert make(hosts).endswith("; it was resumed")


def test_a_foreign_job_is_waited_for() -> None:
    hosts = Hosts(begin=broken(2, "another job runs on it"))
    with pytest.raises(Unavailable, match="another job runs"):
        make(hosts)
    assert "end" not in hosts.verbs()


def test_a_vm_that_was_started_while_it_was_read_at_rest_gets_no_point() -> None:
    hosts = Hosts(begin=lambda _: begun(state="off"),
                  end=lambda _: {"reason": "asked", "was": "moved", "incident": ""})
    with pytest.raises(Unavailable, match="was started while its disks were read"):
        make(hosts)
    assert "publish" not in hosts.verbs()


def test_a_point_that_is_there_already_is_not_made_again() -> None:
    hosts = Hosts(replica_make=lambda _: made(2))
    assert make(hosts) == "restore point 2 of sql is on milan-1 already"


def test_a_seed_that_takes_several_slices_goes_on_from_each_slice_s_checkpoint() -> None:
    results = [sent(left=[[64 * MIB, 192 * MIB]], reached=64 * MIB), sent()]
    names = iter(["hotsite-000002-0c5a", "hotsite-000002-0c5a.2"])
    hosts = Hosts(replica_make=lambda _: made(0), send=lambda _: results.pop(0),
                  begin=lambda _: begun(checkpoint=next(names), disks={"vda": disk_told(
                      tracked=len(results) != 2)}))
    assert "in 2 slices" in make(hosts)
    begins = [request for _, verb, request in hosts.asked if verb == "begin"]
    assert [one["since"] for one in begins] == ["", "hotsite-000002-0c5a"]
    sends = [request for _, verb, request in hosts.asked if verb == "send"]
    assert [one["mode"] for one in sends] == ["seed", "increment"]
    assert sends[1]["ranges"] == [[64 * MIB, 192 * MIB]]
    notes = [request["disks"]["vda"].get("note") for _, verb, request in hosts.asked
             if verb == "incoming-open"]
    assert notes == [None, {"checkpoint": "hotsite-000002-0c5a", "covered": 64 * MIB,
                            "origin": ORIGIN, "run": "r1"}]
    assert [(one["origins"], one["run"]) for one in begins] == [({}, ""), ({"vda": ORIGIN}, "r1")]
    assert hosts.request("publish")["checkpoint"] == "hotsite-000002-0c5a.2"


@pytest.mark.parametrize("last", ["hotsite-000002-0c5a", "hotsite-000002-0c5a.9"])
def test_a_seed_that_was_cut_goes_on_where_its_last_slice_ended(last: str) -> None:
    incoming = {"vda": {"kind": "base", "parent": None, "size_bytes": 256 * MIB, "note": {
        "checkpoint": last, "covered": 64 * MIB, "origin": ORIGIN, "run": "r1"}}}
    hosts = Hosts(replica_make=lambda _: made(0, incoming=incoming),
                  incoming_open=lambda request: opened(request, (1024, 3072)))
    assert "it goes on where it was cut off" in make(hosts)
    began = hosts.request("begin")
    assert began["since"] == last != began["checkpoint"], "the old one is still there"
    assert (began["origins"], began["run"], began["unbroken"]) == ({"vda": ORIGIN}, "r1", True)
    assert last in began["keep"]
    assert hosts.request("send")["ranges"] == [[64 * MIB, 192 * MIB]]


def test_what_a_seed_had_and_lost_is_sent_again_whatever_was_noted() -> None:
    incoming = {"vda": {"kind": "base", "parent": None, "size_bytes": 256 * MIB, "note": {
        "checkpoint": "hotsite-000002-0c5a", "covered": 64 * MIB}}}
    hosts = Hosts(replica_make=lambda _: made(0, incoming=incoming),
                  incoming_open=lambda request: opened(request, (16, 2), (1024, 3072)))
    make(hosts)
    assert hosts.request("send")["ranges"] == [[MIB, MIB // 8], [64 * MIB, 192 * MIB]]


def test_what_is_there_behind_the_noted_place_may_be_old_and_is_sent_again() -> None:
    incoming = {"vda": {"kind": "base", "parent": None, "size_bytes": 256 * MIB, "note": {
        "checkpoint": "hotsite-000002-0c5a", "covered": 64 * MIB}}}
    hosts = Hosts(replica_make=lambda _: made(0, incoming=incoming))
    make(hosts)
    assert hosts.request("send")["ranges"] == [[64 * MIB, 192 * MIB]]


def test_where_too_much_is_missing_to_be_listed_all_to_the_end_is_sent() -> None:
    told = {"missing": [[0, 1], [2, 1]], "missing_ranges": 3}
    assert parse_missing(told, 10 * MIB) == (
        (0, CLUSTER_BYTES), (2 * CLUSTER_BYTES, 10 * MIB - 2 * CLUSTER_BYTES))


def test_what_the_newest_point_reads_wrong_rides_along() -> None:
    hosts = Hosts(replica_make=lambda _: made(repair={"vda": [[0, 65536]]}))
    make(hosts, repair=True)
    assert hosts.request("send")["ranges"] == [[0, 65536]]


def test_a_lost_bitmap_is_a_look_at_all_of_the_disk_that_sends_what_differs() -> None:
    hosts = Hosts(begin=lambda _: begun(disks={"vda": disk_told(
        tracked=False, why="its change tracking is broken", bitmap="")}))
    assert "its change tracking is broken: read 3MiB, sent 2MiB that differed" in make(hosts)
    assert hosts.request("send")["mode"] == "scan"
    assert hosts.request("publish")["disks"]["vda"]["whole"] is True


def test_what_is_compared_is_read_whole_and_what_tracking_missed_is_told() -> None:
    hosts = Hosts()
    said = make(hosts, compare="compared as a whole, as asked")
    assert ("vda: compared as a whole, as asked: read 3MiB, sent 2MiB that differed, and change"
            " tracking had missed at least 1MiB of it") in said
    assert hosts.request("begin")["modes"] == {"vda": "increment"}
    assert (hosts.request("send")["mode"], hosts.request("send")["bitmap"]) == ("scan", "")
    assert hosts.request("publish")["disks"]["vda"]["compared"] is True


def test_a_copy_begins_at_its_share_of_what_it_may_take() -> None:
    hosts = Hosts()
    make(hosts, limits=(RateLimit("Host/milan-1", 8_000),))
    assert hosts.request("send")["rate_bps"] == 8_000


def test_a_raw_disk_gets_the_time_that_all_of_it_takes() -> None:
    raw = DiskCopy("vdb", "/data/vdb.raw", "raw", 1 << 40, CopyMode.SCAN)
    plain = action()
    assert time_limit_s(plain) == plain.budget_s + SLACK_S
    assert time_limit_s(action(disks=(*plain.disks, raw))) > (1 << 40) / 20e6
    limits = (RateLimit("Host/paris-1", 8_000_000),)
    assert time_limit_s(action(disks=(raw,), limits=limits)) > (1 << 40) / 1e6


@pytest.mark.parametrize("name", ["x; undefine sql", "hotsite-000001 --children", "</name>"])
@pytest.mark.parametrize("place", ["point", "note"])
def test_a_replica_cannot_put_words_into_the_mouth_of_the_source(place: str, name: str) -> None:
    told = made(0, incoming={"vda": {"kind": "base", "parent": None, "size_bytes": 64 * MIB,
                                     "note": {"checkpoint": name, "covered": MIB}}})
    if place == "point":
        told = made(1)
        told["replica"]["points"][0]["checkpoint"] = name
    hosts = Hosts(replica_make=lambda _: told)
    with pytest.raises(OutcomeUnknown, match="not the name of a checkpoint"):
        make(hosts)
    assert "begin" not in hosts.verbs()


def test_an_nvram_goes_into_the_point_and_one_that_does_not_is_told() -> None:
    hosts = Hosts(begin=lambda _: begun(nvram="eJw="))
    assert "NVRAM" not in make(hosts)
    assert hosts.request("publish")["meta"]["nvram"] == {"zlib": "eJw="}
    why = "/v/VARS.fd cannot be read: Permission denied"
    hosts = Hosts(begin=lambda _: begun(nvram_missing=why))
    assert f"its NVRAM is not in it ({why})" in make(hosts)
    published = hosts.request("publish")
    assert "nvram" not in published["meta"]
    assert published["facts"]["nvram_missing"] == why


def test_what_is_not_in_a_point_is_told_and_goes_into_it() -> None:
    hosts = Hosts(begin=lambda _: begun(left_out={"vdb": "it is read-only"}))
    told = make(hosts, without=("TPM tpm-crb emulator (its keys stay on its host)",))
    lacking = ["TPM tpm-crb emulator (its keys stay on its host)", "disk vdb (it is read-only)"]
    assert f"; it is without {', '.join(lacking)}" in told
    assert hosts.request("publish")["facts"]["without"] == lacking
    assert "without" not in make(Hosts())


@pytest.mark.parametrize(("left_out", "known"), [
    ({}, False), ({"vdb": "it cannot be opened"}, True)])
def test_a_disk_that_stays_left_out_has_no_other_read_anew(
        left_out: dict[str, str], *, known: bool) -> None:
    replica = made()
    replica["replica"]["points"][-1]["facts"] |= {
        "left_out": left_out, "fingerprints": {"vda": [["7.9", 1, 2, 3]]}}
    hosts = Hosts(replica_make=lambda _: replica, begin=lambda _: begun(left_out=left_out))
    disks = action().disks
    make(hosts, disks=(*disks, replace(disks[0], target="vdb")))
    assert bool(hosts.request("begin")["known"]) is known


def test_a_disk_that_can_keep_no_bitmap_is_asked_for_as_a_whole() -> None:
    hosts = Hosts(begin=lambda _: begun(disks={"vda": disk_told(tracked=False, bitmap="")}))
    old = replace(action().disks[0], qcow2_version=2)
    assert "vda: its changes are not tracked: read 3MiB" in make(hosts, disks=(old,))
    assert hosts.request("begin")["modes"] == {"vda": "scan"}
    assert hosts.request("send")["mode"] == "scan"
