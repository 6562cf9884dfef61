"""Optional packages, and the command that installs them."""

from types import ModuleType


def gguf_package(needed_by: str) -> ModuleType:
    """The gguf package.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import gguf
    except ImportError as error:
        raise ImportError(f"{needed_by} need the gguf package; pip install 'odesteer_tl[gguf]'") from error
    return gguf
