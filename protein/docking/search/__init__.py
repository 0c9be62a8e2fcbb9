"""Search for poses of low energy: minimisation, annealed Monte Carlo, and ranking by energy."""
