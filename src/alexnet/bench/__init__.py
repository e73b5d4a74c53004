"""How fast this machine trains and uses the networks, beside its own ceilings and the frameworks as they come."""
