"""The kinds of values that the config's keys take, and what a block of keys is."""

from __future__ import annotations

import inspect
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

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
Several = Annotated[list[Text], Field(min_length=1)]
Paths = Text | Several
Hook = Text | Several
Size = Annotated[list[Count], Field(min_length=3, max_length=3)]
Variants = Annotated[dict[VariantName, X | None], AfterValidator(_without_nulls)]

Symmetry = Annotated[str, StringConstraints(pattern=r"^([CD][1-9][0-9]*|T|O|I[1-5]?)$")]  # RELION's notation

TAGS = (
    "(path)",
    "(paths)",
    "(block)",
)  # of the kinds of value that a key takes, so that a fault is of one of them


def tag(value: object) -> str:
    """Which of TAGS a value is to be, by its kind."""
    return TAGS[1] if isinstance(value, list) else TAGS[2] if isinstance(value, dict | Section) else TAGS[0]


class Section(BaseModel):
    """A block of the config. It refuses unknown keys, and values of another kind even if they could be converted; the
    text under a key is its meaning, in messages and in config/README.md."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The keys of this block before those of the block that it extends, each meaning in one line."""
        schema = handler.resolve_ref_schema(handler(core))
        own = inspect.get_annotations(cls)
        keys = dict(sorted(schema["properties"].items(), key=lambda item: item[0] not in own))
        for key in keys.values():
            if "description" in key:
                key["description"] = " ".join(key["description"].split())
        schema["properties"] = keys
        schema.pop("description", None)
        return schema
