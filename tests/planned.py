"""A workflow as Snakemake has it in memory, for tests that ask its rules and jobs instead of their text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from conftest import ROOT
from snakemake.api import SnakemakeApi
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings


@contextmanager
def planned(
    folder: Path, *configfiles: Path, snakefile: Path = ROOT / "Snakefile", **resources: Any
) -> Iterator[Any]:
    """The `workflow` of a dry run in a project folder, which is the working folder meanwhile."""
    before = dict(os.environ)
    try:
        with SnakemakeApi(OutputSettings(dryrun=True, quiet={Quietness.ALL})) as api:
            with redirect_stderr(StringIO()):  # a dry run says much, whatever it is told
                found = api.workflow(
                    resource_settings=ResourceSettings(**{"cores": 2} | resources),
                    config_settings=ConfigSettings(configfiles=list(configfiles)),
                    snakefile=snakefile,
                    workdir=folder,
                )
                found.dag().execute_workflow(executor="local", pseudo_executor="dryrun")
            yield found._workflow
    finally:
        os.environ.clear()
        os.environ.update(before)
