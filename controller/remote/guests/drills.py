"""The drills of a replica that its state.json notes, as rows."""

CUT_OFF = "cut off"        # such a drill says nothing of its point
SEEN = ("proven", "booted")    # all that a drill can see was seen
FIELDS = {"at": float, "sequence": int, "outcome": str, "sentence": str, "content": str, "by": str}
TIMES = ("boot_s", "health_s")


def drills_of(facts: dict) -> list:
    """Return the last drill that was not cut off and the last that proved its point, oldest first.

    Malformed ones raise what parsing raises for content of another shape.
    """
    decided = [one for one in facts.get("drills", ()) if one["outcome"] != CUT_OFF]
    proven = [one for one in decided if one["outcome"] in SEEN][-1:]
    return [row_of(one) for one in (proven if proven == decided[-1:] else proven + decided[-1:])]


def row_of(drill: dict) -> dict:
    """Return one drill."""
    return {**{name: kind(drill[name]) for name, kind in FIELDS.items()},
            **{name: float(drill[name]) for name in TIMES if drill.get(name) is not None}}
