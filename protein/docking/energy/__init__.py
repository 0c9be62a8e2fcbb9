"""The energy of a pose: AutoDock Vina's function on heavy atoms, batched, in torch."""
