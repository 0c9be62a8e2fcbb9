"""Geometry of fields on the sphere: grids, quadrature, harmonics, noise and padding."""
