"""A network whose factory kills its process: once, and never the one that the variable names."""

import os
import signal
from pathlib import Path

from expunge.tasks.classification.models import small_cnn

PARENT, MARK = "KILLED_WORKER_PARENT", "KILLED_WORKER_MARK"


def network(classes, channels):
    mark = Path(os.environ[MARK])
    if os.environ[PARENT] != str(os.getpid()) and not mark.exists():
        mark.write_text("killed")
        os.kill(os.getpid(), signal.SIGKILL)
    return small_cnn(classes, channels, width=4)
