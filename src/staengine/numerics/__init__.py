"""Transforms, projections and symmetry."""
