"""Every test here gets the process's logging back as it was."""

import logging
import sys
import threading
import warnings

import pytest

from hookline.telemetry.logs import _CHATTY


@pytest.fixture(autouse=True)
def restored_logging():
    root = logging.getLogger()
    names = [None, "hookline", *_CHATTY]
    before = {name: logging.getLogger(name).level for name in names}
    kafka = logging.getLogger("hookline.kafka")
    filters = kafka.filters[:]
    handlers, hooks = root.handlers[:], (sys.excepthook, threading.excepthook)
    showwarning = warnings.showwarning
    yield
    root.handlers[:] = handlers
    kafka.filters[:] = filters
    sys.excepthook, threading.excepthook = hooks
    logging.captureWarnings(False)
    warnings.showwarning = showwarning
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
