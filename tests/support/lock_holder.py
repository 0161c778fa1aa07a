"""A process that is at work in a folder."""

from __future__ import annotations

import os
import time
import warnings

from expunge.weights import folder_lock


def holder(folder) -> int:
    """Return the number of a process that holds a folder's lock; kill it, and wait for it."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the child computes nothing, so that threads do not matter
        child = os.fork()
    if child == 0:
        with folder_lock(folder):
            os.write(writer, b"!")
            time.sleep(600)
    os.close(writer)
    assert os.read(reader, 1) == b"!"
    os.close(reader)
    return child
