"""What every driver of the lease keeps."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from controller.store.lease import Lease, LeaseState
from tests.lease.contenders import Weather, boot_clock, contend
from tests.lease.places import Place

SOAK = 100 if os.environ.get("SOAK") else 0
"""So many takeovers, where there is time."""


def on(place: Place, story: Callable[[Lease, Lease], Awaitable[None]]) -> None:
    """Tell a story of two controllers."""
    async def whole() -> None:
        try:
            await story(place.make("talk"), place.make("talk"))
        finally:
            await place.close()
    asyncio.run(whole())


async def taken(lease: Lease, holder: str, ttl_s: float) -> tuple[LeaseState, float]:
    """Take the lease, as soon as that can be; and when it was asked for."""
    while True:
        asked = boot_clock()
        said = await lease.take(holder, ttl_s)
        if said.granted:
            return said, asked
        await asyncio.sleep(0.02)


def test_the_first_takes_it_in_term_one_and_the_second_is_told_by_whom(place: Place) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        assert (await paris.read()).term == 0
        assert (await paris.take("paris", 60)).term == 1
        denied = await milan.take("milan", 60)
        assert (denied.granted, denied.holder, denied.term) == (False, "paris", 1)
        assert 55 < denied.left_s <= 62
        assert "paris" in denied.sentence
        assert (await milan.read()).holder == "paris"
    on(place, story)


def test_to_take_it_twice_keeps_the_term_so_that_a_lost_answer_can_be_asked_for(
        place: Place) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        assert [(await paris.take("paris", 60)).term for _ in range(3)] == [1, 1, 1]
    on(place, story)


def test_a_renewal_keeps_the_term(place: Place) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        await paris.take("paris", 60)
        said = await paris.renew("paris", 1, 60)
        assert (said.granted, said.term, said.holder) == (True, 1, "paris")
    on(place, story)


def test_a_renewal_in_another_term_or_of_another_is_denied(place: Place) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        await paris.take("paris", 60)
        assert not (await paris.renew("paris", 2, 60)).granted
        assert not (await milan.renew("milan", 1, 60)).granted
        assert (await paris.renew("paris", 1, 60)).granted
    on(place, story)


def test_what_was_given_up_is_free_at_once_in_a_higher_term(place: Place) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        await paris.take("paris", 60)
        assert not (await milan.release("milan", 1)).granted
        assert (await milan.read()).holder == "paris"
        given = await paris.release("paris", 1)
        assert (given.granted, given.holder, given.term, given.left_s) == (False, "", 1, 0.0)
        assert (await paris.release("paris", 1)).holder == ""
        assert not (await paris.renew("paris", 1, 60)).granted
        said = await milan.take("milan", 60)
        assert (said.granted, said.term) == (True, 2)
    on(place, story)


def test_a_lease_that_ran_out_goes_to_another_and_not_a_moment_too_soon(place: Place) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        _, asked = await taken(paris, "paris", place.ttl_s)
        said, _ = await taken(milan, "milan", place.ttl_s)
        assert said.term == 2
        assert boot_clock() > asked + place.ttl_s
        late = await paris.renew("paris", 1, place.ttl_s)
        assert (late.granted, late.holder, late.term) == (False, "milan", 2)
        assert not (await paris.take("paris", place.ttl_s)).granted
    on(place, story)


def test_a_holder_that_slept_gets_a_new_term_though_nobody_came_between(place: Place) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        await taken(paris, "paris", place.ttl_s)
        while (said := await milan.read()).left_s > 0:
            await asyncio.sleep(0.02)
        assert (said.holder, said.term) == ("paris", 1)     # it ran out: nobody gave it up
        assert not (await paris.renew("paris", 1, place.ttl_s)).granted
        assert (await taken(paris, "paris", place.ttl_s))[0].term == 2
    on(place, story)


def test_a_new_term_is_above_what_hosts_know(place: Place) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        await paris.take("paris", 60)
        await paris.release("paris", 1)
        assert (await milan.take("milan", 60, above=41)).term == 42
    on(place, story)


def test_two_estates_have_two_leases(place: Place) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        await paris.take("paris", 60)
        assert (await place.make("other").take("milan", 60)).granted
    on(place, story)


def test_of_many_that_ask_at_once_one_wins(place: Place) -> None:
    async def story(paris: Lease, milan: Lease) -> None:
        many = [place.make("talk") for _ in range(8)]
        said = await asyncio.gather(*(lease.take(str(n), 60) for n, lease in enumerate(many)))
        assert sum(one.granted for one in said) == 1
        assert {one.holder for one in said} == {next(one.holder for one in said if one.granted)}
    on(place, story)


def test_contenders_that_die_and_sleep_over_slow_lines_never_act_at_once(place: Place) -> None:
    async def whole() -> None:
        ttl_s = place.ttl_s
        weather = Weather(ttl_s / 4, dies=0.1, asleep=0.1)
        contest = await contend(lambda: place.make("talk"), ("milan", "paris", "third"), ttl_s,
                                SOAK or (12 if ttl_s < 1 else 3), weather, seed=7)
        await place.close()
        assert contest.double_acts() == []
        assert contest.shared_terms() == set()
        assert contest.falling_terms() == []
    asyncio.run(whole())
