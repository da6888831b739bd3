"""The switches: bridges, ports, VLAN tags and trunks, through ovs-vsctl."""
