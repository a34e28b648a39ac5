"""Writers of the files of other programs, for tests alone: each turns the same simulated truth into one format."""
