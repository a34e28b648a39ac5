"""Decisions: what depends on results, made by a rule that says why, or by a person in the config.

Each is a pure function from tables (and maps) to a `Decision`. How each rule was arrived at:
docs/decisions-evidence.md.
"""

from stacycle.decisions.agreement import with_agreement
from stacycle.decisions.classes import choose_classes
from stacycle.decisions.cycle import BEFORE, Candidate, cycle_variant
from stacycle.decisions.decision import Decision, combine, read_decision, write_decision
from stacycle.decisions.iteration import align_iteration, class3d_iteration
from stacycle.decisions.mask import mask_threshold
from stacycle.decisions.variant import Alignment, Variant, align_variant, class3d_variant, separation

__all__ = [
    "BEFORE",
    "Alignment",
    "Candidate",
    "Decision",
    "Variant",
    "align_iteration",
    "align_variant",
    "choose_classes",
    "class3d_iteration",
    "class3d_variant",
    "combine",
    "cycle_variant",
    "mask_threshold",
    "read_decision",
    "separation",
    "with_agreement",
    "write_decision",
]
