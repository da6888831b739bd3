"""One message to one receiver, by whichever way it has declared."""

from controller.alerting.message import Message
from controller.model.notify.spec import ReceiverSpec
from controller.providers.notify.mail import mail
from controller.providers.notify.program import call
from controller.providers.notify.webhook import post


async def send(receiver: ReceiverSpec, message: Message) -> str:
    """Send a message; return what was odd about that, if anything.

    Errors: Refused, Unavailable, OutcomeUnknown.
    """
    if receiver.webhook is not None:
        return await post(receiver.webhook, message, receiver.name)
    if receiver.email is not None:
        subject = message.filled(receiver.subject)
        return await mail(receiver.email, message, subject, receiver.name)
    assert receiver.exec is not None, "each receiver has one way"
    return await call(receiver.exec, message, receiver.name)
