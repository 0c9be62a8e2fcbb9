"""One receptor made ready, and one ligand after another docked into it."""
