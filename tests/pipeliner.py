"""RELION's project files as a reader sees them that is not ours: ccpem-pipeliner, in an environment of its own.

`make pipeliner` installs it; where it is not there, tests that need it are skipped, unless STACYCLE_PIPELINER_TESTS
says that they must run.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

PYTHON = Path(__file__).parents[1] / ".venv-pipeliner/bin/python"
_READ = """
import json, logging, sys
logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
from pipeliner.project_graph import ProjectGraph
with ProjectGraph(read_only=True) as project:
    jobs = [
        {
            "name": one.name,
            "alias": one.alias,
            "type": one.type,
            "status": one.status,
            "number": one.job_number,
            "inputs": [node.name for node in one.input_nodes],
            "outputs": [node.name for node in one.output_nodes],
            "from": sorted({node.output_from_process.name for node in one.input_nodes if node.output_from_process}),
        }
        for one in project.process_list
    ]
    print(json.dumps({"next": project.job_counter, "jobs": jobs}))
"""


def read(folder: Path) -> dict[str, Any]:
    """What ccpem-pipeliner finds in RELION's project in a folder: the `next` job's number, and `jobs`, each with its
    inputs, outputs and the jobs that it starts `from`. It must say nothing that is wrong."""
    if not PYTHON.is_file():
        assert not os.environ.get("STACYCLE_PIPELINER_TESTS"), f"{PYTHON} is not there: make pipeliner"
        pytest.skip("needs ccpem-pipeliner: make pipeliner")
    done = subprocess.run([PYTHON, "-c", _READ], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Creating" not in done.stderr, done.stderr  # an edge that it cannot follow
    found: dict[str, Any] = json.loads(done.stdout)
    return found
