"""The survey: specs and facts indexed once per decision, so that every diff only looks things up.

    specs ───► SpecIndex                   names, cards, links, grants; cached while specs are equal
    observed ─► renamed ─► machines ─┐     old names followed; one machine under two names hidden
                                     ▼
                    one HostIndex per host ─► sightings, Identities, ReplicaIndex
    context ──► pauses

Three values. A fact is known, absent or unknown, and only an answer makes it absent. The survey
keeps what a VM could be confused about in separate indexes, and none of them looks like another:

    sightings          on hosts that answer: there, and where it is not listed it is absent
    last_seen          on declared hosts that are silent: still there, as far as anybody knows
    on_removed_hosts   on nodes that left the specs, as last seen
    assumed_lost       on hosts that a what-if takes away; gone, for this plan alone

A host that was never seen has no domains to remember (`unreachable[host].domains` is None): it may
hold anything, so nothing is created while it is silent. Facts that are too old are `stale`: nothing
is done on that node, yet what it showed still counts as held. A part that alone is unreadable (one
pool, one domain, one replica) is unknown by itself and leaves the rest of its host known.

Identity. A VM is its UUID, its cards and its disk files, never its name: people rename, clone and
copy domains. A domain belongs to the VM that our mark names, if the mark was written for this UUID;
else to the VM whose name it has. A domain that has something of another VM is that VM's rival, and
both running at once is a split brain. A path is a file of one host, unless its pool is declared
shared. Silent hosts count, too: a card last seen there is taken until that host says otherwise.

Everything here is frozen and lives as long as one decision. The SpecIndex of equal specs and the
HostIndex of equal facts are cached for the next one, which changes no result.
"""
