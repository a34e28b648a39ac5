"""The embedded engine: RELION's command lines and files, real algorithms on small data.

It shares no code with stacycle. The workflow is to run RELION's programs and to read what they leave; where this
engine stands in for them, it must do so as a stranger, known by its command line and its files alone. A reader or
a geometry that both used would be wrong on both sides at once, and no test of the one against the other would see it.

Floors, lowest first; a module imports only from its own package and from lower floors:

    errors, files, cli
    numerics                         transforms, projection, symmetry, FSC; knows no STAR files
    tilt_series                      RELION's tables, tilt images, extraction, reconstruction
    refinement, fits, simulation     on top of tilt series, and not of each other
    programs                         one thin main per program
    __main__                         the program of a name
"""
