"""Docking of small molecules: poses on R³ × SO(3) × Tᵐ, their physics, search and metrics."""
