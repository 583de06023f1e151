"""The OpenSSL that Python itself is linked with, where there is one."""

import ctypes
from typing import Final

_NAMES: Final = ("libcrypto.so.3", "libcrypto.3.dylib", "libcrypto.so.1.1", "libcrypto.1.1.dylib")


def libcrypto(*functions: str) -> ctypes.PyDLL | None:
    """The system's libcrypto that has these functions, a handle of the caller's own; None where there is none."""
    for name in _NAMES:
        try:
            library = ctypes.PyDLL(name)  # not CDLL: handing the interpreter's lock back and forth costs more than DES
            for function in functions:
                getattr(library, function)
        except (OSError, AttributeError):
            continue
        return library
    return None
