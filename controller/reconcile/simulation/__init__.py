"""What the losses of sites and hosts would come to, played with the loop on an estate in memory."""
