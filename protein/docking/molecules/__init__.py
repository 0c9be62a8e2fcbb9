"""Small molecules: reading them, their torsions, conformers and atom types."""
