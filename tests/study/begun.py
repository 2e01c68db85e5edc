"""A study that has begun, as far as its baseline's record goes."""

from nightlab.records import Reason, TrialRecord, Verdict
from nightlab.sandbox.device import Device
from nightlab.settings import SessionSettings
from nightlab.study.conditions import continue_settings
from tests.samples import sample_record

CPU = Device(name="cpu", description="a processor, 2 threads", threads=2)


def baseline(**settings: object) -> TrialRecord:
    begun = continue_settings(SessionSettings.model_validate({"study": "s", **settings}), None)
    record = sample_record(0, scores=(2.0, 2.1), verdict=Verdict.KEEP, reason=Reason.BASELINE)
    return record.model_copy(
        update={"settings": begun.model_dump(mode="json"), "device": CPU.description}
    )
