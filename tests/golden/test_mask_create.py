"""relion_mask_create against RELION 5.0.1's own mask."""

from pathlib import Path

import mrcfile
import numpy as np

from staengine.programs import mask_create

GOLDEN = Path(__file__).parent / "data"


def test_mask_equals_relions(tmp_path, monkeypatch, record_property):
    command = (GOLDEN / "logs/mask.command").read_text().split()[1:]
    output = tmp_path / "mask.mrc"
    command[command.index("--o") + 1] = str(output)
    monkeypatch.chdir(GOLDEN)
    assert mask_create.main(command) == 0
    with mrcfile.open(output) as mine, mrcfile.open(GOLDEN / "mask/mask.mrc") as relions:
        difference = np.abs(mine.data - relions.data).max()
        assert difference < 1e-3
        assert mine.voxel_size.x == relions.voxel_size.x
    record_property("mask_create: largest difference", f"{difference:.1e}")
