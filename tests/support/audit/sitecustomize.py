"""Put this folder on PYTHONPATH: each Python process then writes what it connects to and what it writes, a JSON
line each, to the file named by AUDIT_LOG. Knows Python's own calls only, not what native code does by itself."""

import json
import os
import sys

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_NETWORK = {"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0, "socket.gethostbyname": 0}
_PATHS = {"os.mkdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1, "os.truncate": 0, "sqlite3.connect": 0}

_log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def _hook(event, arguments):
    if event in _NETWORK:
        _tell("network", event, arguments[_NETWORK[event]])
    elif event in _PATHS:
        _tell("write", event, arguments[_PATHS[event]])
    elif event == "open":
        path, mode, flags = arguments
        if isinstance(path, (str, bytes)) and ((flags or 0) & _WRITES or set(mode or "") & set("wax+")):
            _tell("write", event, path)


def _tell(kind, event, what):
    if isinstance(what, int):  # an open file: its opening was told
        return
    what = [str(part) for part in what] if isinstance(what, tuple) else os.fsdecode(what or "")
    os.write(_log, json.dumps([kind, event, what, sys.argv[:3] if hasattr(sys, "argv") else []]).encode() + b"\n")


sys.addaudithook(_hook)
