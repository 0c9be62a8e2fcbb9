"""Data: from any laboratory's files to one prepared store, and from the store to samples."""
