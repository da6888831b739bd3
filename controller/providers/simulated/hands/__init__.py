"""What each action does to the simulated world, with the refusals of virsh and ovs-vsctl."""
