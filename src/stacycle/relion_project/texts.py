"""The files of RELION's project as text: `default_pipeline.star`, and a job's `job.star` and `note.txt`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Row = tuple[str, ...]
_HEAD = "\n# version 50001\n\n"  # RELION converts labels of older files
LABELS = {
    "processes": (
        "rlnPipeLineProcessName",
        "rlnPipeLineProcessAlias",
        "rlnPipeLineProcessTypeLabel",
        "rlnPipeLineProcessStatusLabel",
    ),
    "nodes": ("rlnPipeLineNodeName", "rlnPipeLineNodeTypeLabel", "rlnPipeLineNodeTypeLabelDepth"),
    "input_edges": ("rlnPipeLineEdgeFromNode", "rlnPipeLineEdgeProcess"),
    "output_edges": ("rlnPipeLineEdgeProcess", "rlnPipeLineEdgeToNode"),
}
COUNTER = "rlnPipeLineJobCounter"


@dataclass
class Pipeline:
    """What a pipeline holds: the number of the next job, and the rows of its tables by LABELS."""

    counter: int = 1
    processes: list[Row] = field(default_factory=list)
    nodes: list[Row] = field(default_factory=list)
    input_edges: list[Row] = field(default_factory=list)
    output_edges: list[Row] = field(default_factory=list)

    def add(self, other: Pipeline) -> None:
        """Add what another one holds."""
        self.counter = max(self.counter, other.counter)
        for name in LABELS:
            getattr(self, name).extend(getattr(other, name))

    def text(self) -> str:
        """The file. A row that is there already is left out."""
        parts = [_list("pipeline_general", {COUNTER: str(self.counter)})]
        for name, labels in LABELS.items():
            if rows := list(dict.fromkeys(getattr(self, name))):
                parts.append(_loop(f"pipeline_{name}", labels, rows))
        return "".join(parts)


def job_star(label: str, options: Mapping[str, str]) -> str:
    """A job's `job.star`: its kind, and the fields of the GUI by name."""
    head = {"rlnJobTypeLabel": label, "rlnJobIsContinue": "0", "rlnJobIsTomo": "1"}
    rows = sorted(options.items())
    values = _loop("joboptions_values", ("rlnJobOptionVariable", "rlnJobOptionValue"), rows) if rows else ""
    return _list("job", head) + values


def _list(name: str, values: Mapping[str, str]) -> str:
    lines = (f"_{label:<40} {_word(value)}" for label, value in values.items())
    return f"{_HEAD}data_{name}\n\n" + "\n".join(lines) + "\n \n"


def _loop(name: str, labels: Sequence[str], rows: Sequence[Row]) -> str:
    heads = "".join(f"_{label} #{number} \n" for number, label in enumerate(labels, 1))
    lines = ("  ".join(map(_word, row)) for row in rows)
    return f"{_HEAD}data_{name}\n\nloop_ \n{heads}" + " \n".join(lines) + " \n \n"


def _word(value: str) -> str:
    """A value as one word."""
    return f'"{value}"' if not value or any(one.isspace() for one in value) else value
