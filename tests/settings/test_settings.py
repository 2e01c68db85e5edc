from pathlib import Path

import pytest
from pydantic import ValidationError

from nightlab.errors import UsageError
from nightlab.presets import PRESETS
from nightlab.settings import Places, SessionSettings, Settings


def make_clone(folder: Path) -> Path:
    (folder / "trainer").mkdir(parents=True)
    (folder / "trainer" / "train.py").write_text("")
    (folder / ".git").mkdir()
    return folder


def test_a_budget_that_is_set_replaces_the_presets() -> None:
    settings = SessionSettings(preset="laptop", budget_seconds=12)
    assert settings.sizes.budget_seconds == 12
    assert settings.sizes.vocab_size == PRESETS["laptop"].vocab_size
    assert SessionSettings(preset="laptop").sizes == PRESETS["laptop"]


def test_a_token_budget_brings_a_generous_cap_unless_one_is_set() -> None:
    sizes = SessionSettings(preset="quick", budget_tokens=5000).sizes
    assert sizes.budget_tokens == 5000
    assert sizes.budget_seconds == 3 * PRESETS["quick"].budget_seconds
    capped = SessionSettings(preset="quick", budget_tokens=5000, budget_seconds=7).sizes
    assert (capped.budget_tokens, capped.budget_seconds) == (5000, 7)
    with pytest.raises(ValidationError, match="greater than 0"):
        SessionSettings(budget_tokens=0)


@pytest.mark.parametrize(
    ("memory_mb", "rows"),
    [
        (None, 128),
        (81_079, 128),
        (45_488, 64),
        (40_326, 64),
        (32_109, 32),
        (22_502, 32),
        (15_937, 16),
        (11_000, 16),
        (1_000, 1),
    ],
)
def test_rows_of_a_device_batch_fit_in_the_gpu(memory_mb: float | None, rows: int) -> None:
    preset = PRESETS["h100"]
    constants = preset.knobs_on(memory_mb)
    assert constants == {**preset.knobs, "DEVICE_BATCH_SIZE": rows}
    assert isinstance(preset.knobs["TOTAL_BATCH_TOKENS"], int)
    assert preset.knobs["TOTAL_BATCH_TOKENS"] % (rows * preset.sequence_length) == 0


def test_small_presets_start_alike_on_every_device() -> None:
    for name in ("quick", "laptop"):
        assert PRESETS[name].knobs_on(1_000) == PRESETS[name].knobs


@pytest.mark.parametrize("name", ["", "a b", "a/b", "..", "ünder", "a\n"])
def test_a_study_that_cannot_be_a_branch_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="letters, digits"):
        SessionSettings(study=name)


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="trails"):
        SessionSettings.model_validate({"trails": 4})


def test_no_setting_can_hold_a_key() -> None:
    names = SessionSettings.model_fields
    assert not [name for name in names if "key" in name and not name.endswith("_secret")]


def test_the_clone_is_found_from_a_folder_inside_it(tmp_path: Path) -> None:
    root = make_clone(tmp_path / "clone")
    inner = root / "a" / "b"
    inner.mkdir(parents=True)
    places = Places.find(inner, env={})
    assert places.root == root
    assert places.tracking_uri == f"sqlite:///{root}/mlruns/mlflow.db"
    assert places.tracking_is_local


def test_outside_of_a_clone_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cd into your clone"):
        Places.find(tmp_path, env={})


def test_the_environment_moves_the_cache_and_the_tracking_server(tmp_path: Path) -> None:
    root = make_clone(tmp_path / "clone")
    places = Places.find(
        root, env={"NIGHTLAB_CACHE": str(tmp_path / "c"), "NIGHTLAB_TRACKING_URI": "http://m:5000"}
    )
    assert places.cache == tmp_path / "c"
    assert places.tracking_uri == "http://m:5000"
    assert not places.tracking_is_local
    assert places.locks is None
    assert Places.find(root, env={"NIGHTLAB_LOCKS": "~/l"}).locks == Path.home() / "l"
    assert Places.find(root, env={"MLFLOW_TRACKING_URI": "http://m:1"}).tracking_uri == "http://m:1"


@pytest.mark.parametrize(
    "setting",
    [
        {"api_base": "http://me:hidden@127.0.0.1:1/v1"},
        {"api_base": "https://127.0.0.1/v1?key=hidden"},
        {"corpus": "climbmix:https://me:hidden@127.0.0.1/data"},
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_repeated(setting: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match="environment variable") as refusal:
        SessionSettings.model_validate(setting)
    assert "hidden" not in str(refusal.value)


@pytest.mark.parametrize("name", ["budget_seconds", "startup_seconds", "model_timeout_seconds"])
def test_a_time_that_no_system_call_can_wait_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1000000"):
        SessionSettings(**{name: 3_000_000})


def test_pairs_of_a_shorter_budget_are_expected_to_lie_further_apart():
    preset = PRESETS["quick"]

    def expected(**given):
        return SessionSettings(preset="quick", **given).sizes.pair_noise_bpb

    assert expected() == expected(budget_tokens=5000) == preset.pair_noise_bpb
    half = preset.budget_seconds / 2
    assert expected(budget_seconds=half) == pytest.approx(2 * preset.pair_noise_bpb)
    assert expected(budget_seconds=10 * preset.budget_seconds) == preset.pair_noise_bpb
    capped = expected(budget_tokens=5000, budget_seconds=half)
    assert capped == preset.pair_noise_bpb, "a cap alone changes nothing"


def test_a_flow_takes_the_study_and_its_remote_apart_from_the_rest() -> None:
    whole = SessionSettings(study="night", remote="origin", trials=3, prune=False)
    rest = whole.without_study
    assert rest == Settings(trials=3, prune=False)
    assert rest.model_fields_set == {"trials", "prune"}
    again = SessionSettings.of("night", "origin", rest)
    assert again == whole
    assert again.model_fields_set == {"study", "remote", "trials", "prune"}


@pytest.mark.parametrize("name", ["a", "A-1_b", "0", "_", "-"])
def test_a_study_may_be_called_so(name: str) -> None:
    assert SessionSettings(study=name).study == name


@pytest.mark.parametrize(
    "name",
    [
        *("budget_seconds", "budget_tokens", "startup_seconds", "startup_free_seconds"),
        "preflight_seconds",
    ],
)
@pytest.mark.parametrize("preset", ["quick", "h100"])
def test_a_size_that_is_set_replaces_the_presets_and_no_other_does(preset: str, name: str) -> None:
    usual = PRESETS[preset].model_dump()
    sizes = SessionSettings.model_validate({"preset": preset, name: 7}).sizes.model_dump()
    follows = {
        "budget_tokens": {"budget_seconds": 3 * usual["budget_seconds"]},
        "budget_seconds": {"pair_noise_bpb": usual["pair_noise_bpb"] * usual["budget_seconds"] / 7},
    }
    assert sizes == {**usual, name: 7, **follows.get(name, {})}
