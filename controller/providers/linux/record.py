"""Failover records of a node: parsed from its facts, and written to it."""

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
    """Save a record on a node; one that is newer there is kept.

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
    return (f"{node.name} has the record of {action.record.scope}: {action.record.phase}, epoch"
            f" {action.record.epoch}")
