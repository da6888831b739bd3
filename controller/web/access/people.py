"""Who asks, by what a request carries.

    carries                                    is                        may
    Authorization: Bearer NAME.SECRET          who the token proves      what the file says
    the cookie of a sign-in                    who signed in             what the file says now
    the proxy's header, from its address       whom the proxy names      what the file says, or read
    nothing, on a page that only loopback sees nobody                    read
    nothing, elsewhere                         nobody                    nothing

A header of that name from any other address makes the request refused: somebody forges it. A
browser sends cookies, and a proxy's name, with whatever another site makes it ask: such a request
acts only where the browser says that our own page made it (`Origin`, `Sec-Fetch-Site`).

A cookie is NAME.END.SEAL, sealed with a key that this process alone has and with the person's line
of the file: a new token, other rights or a restart end every sign-in.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from controller.web.access.tokens import PROXIED, Person, Right, Tokens

COOKIE: Final = "__Host-hotsite"
SESSION_S: Final = 12 * 3600
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
READER: Final = Person("nobody", frozenset({Right.READ}))
NOBODY: Final = Person("nobody", frozenset())


@dataclass(frozen=True, slots=True)
class Rules:
    """Who is believed, and under which names the page answers."""

    tokens: Tokens
    open_to_read: bool = True
    """Whether who says nothing may read: on loopback."""
    names: frozenset[str] = LOOPBACK_NAMES
    tls: bool = False
    proxy_header: str = ""
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes one request."""

    person: Person
    ambient: bool = False
    """Whether a browser would say so by itself, whoever made it ask."""
    forged: bool = False
    """Whether it carries the proxy's header and is not of the proxy."""
    bearer: str = ""
    """A token that is to be checked yet."""


def caller_of(headers: Mapping[str, str], address: str, rules: Rules, now_s: float) -> Caller:
    """Return who makes a request, by its headers and the address that it is from.

    Errors: SpecError: the file of persons cannot be believed.
    """
    persons = rules.tokens.persons()
    if rules.proxy_header and (name := headers.get(rules.proxy_header.lower())) is not None:
        if not among(address, rules.proxies) or not PROXIED.fullmatch(name):
            return Caller(NOBODY, forged=True)
        person = persons.get(name)
        return Caller(person or Person(name, frozenset({Right.READ})), ambient=True)
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return Caller(NOBODY, bearer=token.strip())
    for part in headers.get("cookie", "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == COOKIE and (found := signed_in(value, persons, rules.key, now_s)) is not None:
            return Caller(found, ambient=True)
    return Caller(READER if rules.open_to_read else NOBODY)


def asker_of(headers: Mapping[str, str], address: str, rules: Rules) -> str:
    """Return whose tries and calls are counted together: behind a proxy not the proxy's."""
    name = headers.get(rules.proxy_header.lower(), "") if among(address, rules.proxies) else ""
    return f"person {name}" if name else address_of(headers, address, rules)


def address_of(headers: Mapping[str, str], address: str, rules: Rules) -> str:
    """Return the address that a request is from, as far as that can be believed.

    Shapes: of the addresses that the trusted proxy hands on the last one counts, which it wrote
    itself; those before it are the asker's own words.
    """
    if not among(address, rules.proxies):
        return address
    last = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    try:
        return str(ip_address(last))
    except ValueError:
        return address


def among(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    """Return whether an address is of one of the networks."""
    try:
        one = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(one, "ipv4_mapped", None)
    return any((mapped or one) in network for network in networks)


def sign_in(person: Person, key: bytes, now_s: float) -> str:
    """Return the value of the cookie for a person."""
    end = str(int(now_s) + SESSION_S)
    return f"{person.name}.{end}.{seal(person, end, key)}"


def signed_in(value: str, persons: Mapping[str, Person], key: bytes,
              now_s: float) -> Person | None:
    """Return who is signed in by the value of a cookie."""
    name, _, rest = value.partition(".")
    end, _, given = rest.partition(".")
    person = persons.get(name)
    if person is None or not (end.isascii() and end.isdigit() and len(end) < 15):
        return None
    right = hmac.compare_digest(seal(person, end, key).encode(), given.encode())
    return person if right and int(end) > now_s else None


def seal(person: Person, end: str, key: bytes) -> str:
    """Return what only this process can write."""
    text = f"{person.name} {','.join(sorted(person.rights))} {person.proof} {end}"
    return hmac.new(key, text.encode(), "sha256").hexdigest()


def of_our_page(headers: Mapping[str, str], *schemes: str) -> bool:
    """Return whether the browser says that a page of ours made it ask."""
    own = {f"{scheme}://{headers.get('host', '')}".lower() for scheme in schemes}
    return (headers.get("origin", "").lower() in own
            and headers.get("sec-fetch-site", "same-origin") == "same-origin")
