"""The viewer of structures that the pages of proteins share."""
