"""RELION's names of columns, as far as several modules read them."""

SERIES = "rlnTomoTiltSeriesStarFile"
PIXEL = "rlnTomoTiltSeriesPixelSize"
SIZE = [f"rlnTomoSize{axis}" for axis in "XYZ"]
RECONSTRUCTED = "rlnTomoReconstructedTomogram"
OPTICS = [PIXEL, "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast"]
TOMOGRAM = [*OPTICS, "rlnTomoHand", *SIZE]
SHIFT = ["rlnTomoXShiftAngst", "rlnTomoYShiftAngst"]
# Without rlnTomoXTilt, which older files do not have.
TILT = ["rlnTomoYTilt", "rlnTomoZRot", *SHIFT]
TILT += ["rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnMicrographPreExposure"]

CENTRED = [f"rlnCenteredCoordinate{axis}Angst" for axis in "XYZ"]
CORNER = [f"rlnCoordinate{axis}" for axis in "XYZ"]
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
ORIGINS = [f"rlnOrigin{axis}Angst" for axis in "XYZ"]
TURNS = [f"rlnTomoSubtomogram{angle}" for angle in ("Rot", "Tilt", "Psi")]
SUBSET = "rlnRandomSubset"  # the half set: 1 or 2
PARTICLE_NAME = "rlnTomoParticleName"
