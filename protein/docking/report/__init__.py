"""The page of a folder of docked ligands: what was docked, a table, and poses in their pocket."""
