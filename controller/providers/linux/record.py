"""Failover records of a node: parsed from its facts, and written to it."""

import asyncio
from typing import Final

from pydantic import TypeAdapter, ValidationError

from controller.errors import OutcomeUnknown, Refused
from controller.model.failover.record import Record
from controller.plan.actions.failover import WriteRecord
from controller.providers.linux.program import load_program
from controller.providers.linux.replica import first_of
from controller.providers.node import Node, plain_command

RECORDS: Final = TypeAdapter(tuple[Record, ...])
RECORD: Final = TypeAdapter(Record)
OLDER: Final = 76


def parse_records(text: str) -> dict[str, Record]:
    """Return every failover that a node has a record of, by scope.

    Errors: ValueError with a sentence.
    """
    try:
        return {record.scope: record for record in RECORDS.validate_json(text)}
    except ValidationError as error:
        raise ValueError(f"the list of failovers is not understood: {first_of(error)}") from error


def render_record(record: Record) -> str:
    """Return a record as the JSON that nodes keep."""
    return RECORD.dump_json(record).decode()


async def write_record(node: Node, action: WriteRecord) -> str:
    """Save a record on every survivor at once; one that is newer there is kept.

    Errors: that of the first survivor that does not have it then; the others may have it.
    """
    said = await asyncio.gather(*(write_on(Node(node.transport, name), action)
                                  for name in action.to), return_exceptions=True)
    failed = [one for one in said if isinstance(one, BaseException)]
    if failed:
        raise failed[0]
    return (f"{', '.join(action.to)} {'has' if len(action.to) == 1 else 'have'} the record of"
            f" {action.record.scope}: {action.record.phase}, epoch {action.record.epoch}")


async def write_on(node: Node, action: WriteRecord) -> None:
    """Save a record on one node.

    Errors: Refused when the node has a newer one.
    """
    program = load_program("records.py")
    reply = await node.run(plain_command("python3", "-c", program,
                                         text=render_record(action.record), timeout_s=10.0))
    said = (reply.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if reply.exit_status == OLDER:
        raise Refused(f"{node.name} keeps its record of {action.record.scope}: {said}")
    if reply.exit_status != 0:
        raise OutcomeUnknown(f"{node.name} may not have the record of {action.record.scope}:"
                             f" {said}; it is looked at again")
