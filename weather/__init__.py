"""The weather adapter: files to stores, networks, ensemble forecasts and their verification."""
