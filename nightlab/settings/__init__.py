"""Settings: what a session is asked to do, and where this machine keeps things."""

from nightlab.settings.named import (
    LONGEST_STUDY_NAME,
    VARIABLE_PREFIX,
    StudyName,
    address_problem,
    named_keys,
    normal_address,
)
from nightlab.settings.places import TRAINER_FILE, Places
from nightlab.settings.recorded import (
    MEASURE,
    WITHOUT_IDEAS,
    recorded_settings,
    unread_settings,
)
from nightlab.settings.session import (
    LONGEST_SECONDS,
    WAIT_FOR_MODEL_HOURS,
    SessionSettings,
    Settings,
)

__all__ = [
    "LONGEST_SECONDS",
    "LONGEST_STUDY_NAME",
    "MEASURE",
    "TRAINER_FILE",
    "VARIABLE_PREFIX",
    "WAIT_FOR_MODEL_HOURS",
    "WITHOUT_IDEAS",
    "Places",
    "SessionSettings",
    "Settings",
    "StudyName",
    "address_problem",
    "named_keys",
    "normal_address",
    "recorded_settings",
    "unread_settings",
]
