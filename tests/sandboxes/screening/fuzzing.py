"""What both harnesses share: seeds in a folder, instrumented functions, and libFuzzer's options as they are."""

import gc
import importlib
import tempfile
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FunctionType


def functions_of(package: str) -> list[FunctionType]:
    functions = (each for each in gc.get_objects() if isinstance(each, FunctionType))
    return [each for each in functions if str(each.__module__).startswith(package)]


def fuzz(
    arguments: list[str], one: Callable[[Path, bytes], None], seeds: Iterable[bytes], package: str
) -> None:
    """`one` gets a folder to write into, and bytes; what it raises ends the run. Coverage leads in `package`."""
    atheris = importlib.import_module("atheris")
    warnings.simplefilter("ignore")  # as in the scanner's children: of code that nobody wrote
    with tempfile.TemporaryDirectory(prefix="petridish-fuzz-") as name:
        folder, corpus = Path(name), Path(name) / "corpus"
        corpus.mkdir()
        for number, data in enumerate(seeds):
            (corpus / str(number)).write_bytes(data)
        if all(each.startswith("-") for each in arguments[1:]):
            arguments = [*arguments, str(corpus)]
        for function in functions_of(package):  # and not all that is loaded, which takes minutes
            atheris.instrument_func(function)
        atheris.Setup(arguments, lambda data: one(folder, data))
        atheris.Fuzz()
