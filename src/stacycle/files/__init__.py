"""Files: STAR, MRC, RELION's output and names, read and written; what every other package stands on."""
