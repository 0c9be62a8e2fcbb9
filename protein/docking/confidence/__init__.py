"""How likely a docked pose is right: a network that ranks poses and says how sure it is."""
