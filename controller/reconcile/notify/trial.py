"""A try, by a person: one message to each receiver, outside of any loop."""

import asyncio
import secrets
from collections.abc import Sequence

from controller.alerting.message import try_message
from controller.errors import ActionError, SpecError
from controller.model.desired import Desired
from controller.model.notify.spec import ReceiverSpec
from controller.reconcile.notify.notifier import Send


async def try_receivers(desired: Desired, names: Sequence[str], send: Send,
                        now: float) -> dict[str, str | ActionError]:
    """Return, by receiver, what was odd about the message that it took, or why it did not.

    Errors: SpecError for a name that is not declared, and where there is no receiver at all.
    """
    there = {one.name: one for one in desired.estate.spec.notify.receivers}
    if not there:
        raise SpecError(("nobody is told anything: the Estate declares no receiver under"
                         " `notify.receivers`",))
    if unknown := [name for name in names if name not in there]:
        raise SpecError((f"{unknown[0]}: no such receiver is declared: there are"
                         f" {', '.join(there)}",))

    async def tried(receiver: ReceiverSpec) -> str | ActionError:
        """Send it to one."""
        try:
            return await send(receiver, try_message(receiver.name, desired.estate.name,
                                                    secrets.token_hex(12), now))
        except ActionError as error:
            return error

    chosen = [there[name] for name in dict.fromkeys(names or there)]
    outcomes = await asyncio.gather(*(tried(one) for one in chosen))
    return {one.name: outcome for one, outcome in zip(chosen, outcomes, strict=True)}
