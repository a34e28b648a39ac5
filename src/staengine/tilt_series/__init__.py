"""Tilt series and the particles in them: files, images, CTF and prediction."""
