"""The kinds of values that the config's keys take, and what a block of keys is."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, WithJsonSchema

from stacycle.recipe.geometry import SAMPLINGS, SMALLEST_BOX

X = TypeVar("X")


def _different(items: list[X]) -> list[X]:
    if any(items.count(item) > 1 for item in items):
        raise ValueError("some items are the same")
    return items


def _sampling(degrees: float) -> float:
    if degrees not in SAMPLINGS:
        raise ValueError("RELION has no such sampling")
    return degrees


def _without_nulls(variants: dict[str, X | None]) -> dict[str, X]:
    return {name: variant for name, variant in variants.items() if variant is not None}


# An integer stays one: 350 is not to become 350.0 in records and command lines.
Number = Annotated[int | float, WithJsonSchema({"type": "number"})]
Positive = Annotated[int | float, Field(gt=0), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
NotNegative = Annotated[int | float, Field(ge=0), WithJsonSchema({"type": "number", "minimum": 0})]
Sampling = Annotated[int | float, AfterValidator(_sampling), WithJsonSchema({"enum": list(SAMPLINGS)})]
Count = Annotated[int, Field(ge=1)]
Pixels = Annotated[int, Field(ge=0)]
Box = Annotated[int, Field(ge=SMALLEST_BOX, multiple_of=2)]
Auto = Literal["auto"]
Text = Annotated[str, StringConstraints(min_length=1)]
Module = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_/][A-Za-z0-9_./+=:@,-]*$")]
RoundName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
VariantName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")]
Different = Annotated[
    list[X], Field(min_length=1, json_schema_extra={"uniqueItems": True}), AfterValidator(_different)
]
Variants = Annotated[dict[VariantName, X | None], AfterValidator(_without_nulls)]


class Section(BaseModel):
    """A block of the config. It refuses unknown keys, and values of another kind even if they could be converted."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
