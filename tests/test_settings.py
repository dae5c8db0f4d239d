import subprocess

import pytest

from embedserve.errors import SettingsError
from embedserve.settings import Settings, load_settings
from support.processes import EMBEDSERVE, clean_environment


def test_defaults_are_the_documented_ones():
    s = load_settings({})
    assert (s.model, s.port, s.host, s.semaphore_value) == ("auto", 4000, "127.0.0.1", 8)
    assert (s.min_batch_size, s.max_batch_size, s.max_memory_percent) == (8, 64, 70)


def test_home_is_expanded_by_default_too():
    assert load_settings({}).home.is_absolute()


def test_an_empty_value_means_unset():
    assert load_settings({"EMBEDDING_PORT": " ", "EMBEDDING_API_KEY": ""}) == Settings()


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    with pytest.raises(SettingsError, match=r"EMBEDDING_SEMAPHOR.*EMBEDDING_SEMAPHORE_VALUE"):
        load_settings({"EMBEDDING_SEMAPHOR": "8"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("SEMAPHORE_VALUE", "1"),
        ("BACKEND", "magic"),
        ("MAX_MEMORY_PERCENT", "99"),
        ("MEMORY_LIMIT", "lots"),
    ],
)
def test_a_value_out_of_bounds_names_the_variable(name, value):
    with pytest.raises(SettingsError, match=f"EMBEDDING_{name}"):
        load_settings({f"EMBEDDING_{name}": value})


def test_every_wrong_setting_is_named_at_once():
    with pytest.raises(SettingsError, match=r"(?s)PORT.*THREADS|THREADS.*PORT"):
        load_settings({"EMBEDDING_PORT": "x", "EMBEDDING_THREADS": "-1"})


def test_the_command_line_wins_over_the_environment():
    assert load_settings({"EMBEDDING_PORT": "5000"}, port=6000, host=None).port == 6000


def test_sizes_are_read_in_binary_units():
    assert load_settings({"EMBEDDING_MEMORY_LIMIT": "1.5g"}).memory_limit == int(1.5 * 1024**3)


def test_min_batch_over_max_batch_is_refused():
    with pytest.raises(SettingsError, match="min_batch_size"):
        load_settings({"EMBEDDING_MIN_BATCH_SIZE": "65"})


def test_settings_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        load_settings({}).port = 1


def test_a_secret_is_never_shown():
    settings = load_settings({"EMBEDDING_API_KEY": "hunter2"})
    assert "hunter2" not in str(settings.shown())


@pytest.mark.parametrize("name", ["PROT", "SEMAPHOR", "MODELS", "API_KEYS", "MAX_INPUT", "CASHE"])
def test_a_name_near_ours_stops_the_start(name):
    with pytest.raises(SettingsError, match=f"unknown setting EMBEDDING_{name}"):
        load_settings({f"EMBEDDING_{name}": "1"})


def test_names_of_other_programs_are_a_warning(caplog):
    """Kubernetes gives every pod these when a service is called `embedding`."""
    links = {
        "EMBEDDING_SERVICE_HOST": "10.0.0.7",
        "EMBEDDING_SERVICE_PORT": "4000",
        "EMBEDDING_SERVICE_PORT_HTTP": "4000",
        "EMBEDDING_PORT": "tcp://10.0.0.7:4000",
        "EMBEDDING_PORT_4000_TCP": "tcp://10.0.0.7:4000",
        "EMBEDDING_PORT_4000_TCP_ADDR": "10.0.0.7",
        "EMBEDDING_PORT_4000_TCP_PORT": "4000",
        "EMBEDDING_PORT_4000_TCP_PROTO": "tcp",
        "EMBEDDING_DIMENSION": "768",
    }
    assert load_settings(links) == Settings()
    for name in links:
        assert name in caplog.text


def test_a_command_reads_its_own_settings_only():
    environ = {"EMBEDDING_HOME": "/somewhere", "EMBEDDING_CACHE_DISK": "many", "EMBEDDING_TREADS": "2"}
    assert str(load_settings(environ, only=("home",)).home) == "/somewhere"
    with pytest.raises(SettingsError, match="EMBEDDING_TREADS"):
        load_settings(environ)
    for command in ("pull", "models", "optimize"):
        words = {"pull": ["no-such-model"], "models": ["--json"], "optimize": ["no-such-model"]}[command]
        done = subprocess.run(
            [*EMBEDSERVE, command, *words], env=clean_environment(**environ), capture_output=True, text=True
        )
        assert "CACHE_DISK" not in done.stderr + done.stdout
        assert "TREADS" not in done.stderr
