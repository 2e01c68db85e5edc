"""The groups of the settings."""

from nightlab.settings import Settings
from nightlab.settings.groups import GROUPS, OTHERS, group_of, place_of


def test_every_setting_is_in_one_group() -> None:
    named = [name for names in GROUPS.values() for name in names]
    assert sorted(named) == sorted(Settings.model_fields)
    assert group_of("a setting of tomorrow") == OTHERS
    assert place_of("a setting of tomorrow") == len(named)
