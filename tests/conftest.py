"""Which tests run: the default run has no Docker and takes minutes; CI=true runs everything that this machine can.

`slow` and `docker` tests run in CI (`.ci/run`), or when they are asked for: `manage.sh test -m docker`. A test that is
left out says why.
"""

import functools
import gc
import logging
import os
import shutil
import signal
import ssl
import subprocess

import hypothesis
import pytest

from support.home import move_home
from support.processes import ONE_THREAD
from support.workers import rank, scheduler, workers

# A shell starts background jobs with SIGINT ignored, and children inherit that: Ctrl-C tests would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


# Several workers share the cores: a thread of a library that spins while it waits for another takes one from them.
os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
move_home()  # before a test or a library looks for its folder
# Every httpx client reads the certificates of all authorities, 25 ms of a core, for servers here that have none.
ssl.create_default_context = functools.cache(ssl.create_default_context)
# No test is timed: a machine that is busy with other workers is slow, and nothing is wrong. Fewer examples in the run
# that a person waits for.
hypothesis.settings.register_profile(
    "tests",
    hypothesis.settings(),
    deadline=None,
    max_examples=100 if os.environ.get("CI") else 30,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tests")

LEVEL = logging.getLogger().level


@pytest.fixture(autouse=True)
def _log_as_if_no_test_had_run_before():
    """A command that runs in this process sets the log up and logs to the stderr that pytest takes away after the test;
    libraries (Ray among them) set levels for the whole process."""
    root = logging.getLogger()
    before = root.handlers[:]
    root.setLevel(LEVEL)
    logging.disable(logging.NOTSET)
    for handler in before:  # caplog's, one for the whole run
        handler.setLevel(logging.NOTSET)
    yield
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler and handler not in before:
            root.removeHandler(handler)


@pytest.fixture(scope="module")
def converted_here():
    """Tiny models are converted in this process: starting another takes half a second of a core, and has its own tests.
    A large one's conversion would leave its memory behind."""
    from embedserve.backends import convert

    in_child = convert.convert_in_child

    def converted(source, precision, folder):
        weights = sum(file.stat().st_size for file in source.folder.glob("*.safetensors"))
        return (convert.convert if weights < 16 << 20 else in_child)(source, precision, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "convert_in_child", converted)
        yield


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    return workers()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return scheduler(config, log) if config.getoption("dist") == "load" else None


def pytest_collection_finish():
    """What pytest and the libraries hold (700,000 objects) stays frozen. A server collects all that it finds at its
    start and after each unload: half a second each in this process, a tenth of that in one of its own."""
    gc.collect()
    gc.freeze()
    gc.unfreeze = lambda: None


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist
        items.sort(key=lambda item: rank(item.nodeid))
    asked = config.getoption("markexpr")
    everything = bool(os.environ.get("CI"))
    no_engine = "" if not any(item.get_closest_marker("docker") for item in items) else _no_engine()
    for item in items:
        for name in ("slow", "docker"):
            if item.get_closest_marker(name) and not everything and name not in asked:
                item.add_marker(pytest.mark.skip(reason=f"{name}: runs in .ci/run, or with -m {name}"))
        if no_engine and item.get_closest_marker("docker"):
            item.add_marker(pytest.mark.skip(reason=no_engine))


def _no_engine():
    if not shutil.which("docker"):
        return "no Docker here"
    if subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        return "no Docker Engine answers"
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0 and not shutil.which(
        "docker-compose"
    ):
        return "no Docker Compose here"
    return ""
