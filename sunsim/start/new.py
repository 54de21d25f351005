"""The verb `init`: a scenario of one's own."""

import json
import os
import shlex
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sunsim.document.block import FolderName
from sunsim.errors import InputError, clipped
from sunsim.files import replacing

TEMPLATE = Path(__file__).with_name("my-models.yaml")
NAME = f"name: {TEMPLATE.stem}\n"
"""Its line that says the name."""


def write_scenario(name: str) -> str:
    """Writes `TEMPLATE` under the name into the working directory, and says in a line how to go on.

    Args:
        name: of the scenario, and without ``.yaml`` of the file.

    Raises:
        InputError: it is no name, there is something of that name already, or it cannot be written.
    """
    name = name.removesuffix(".yaml")
    try:
        TypeAdapter(FolderName).validate_python(name)
    except ValidationError as error:
        message = (
            f"'{clipped(name)}' is no name, must be of 1 to 100 characters, without slashes and not starting with a dot"
        )
        raise InputError(message, "NAME") from error
    file = Path(f"{name}.yaml")
    if os.path.lexists(file):
        message = "is there already, must be a new file: another name, or move it away"
        raise InputError(message, file)
    text = TEMPLATE.read_text(encoding="utf-8")
    named = text.replace(NAME, f"name: {json.dumps(name)}\n")
    with replacing(file, "a file for a scenario") as place:
        place.write_text(named, encoding="utf-8")
    told = shlex.quote(str(file))
    return f"{file} is written: `sunsim run {told}` simulates it, `sunsim plan {told}` finds the fewest GPUs"
