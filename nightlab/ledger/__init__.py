"""The ledger: candidates, records and evidence of a study, kept in git.

Git is the truth and MLflow a view of it, so everything that a study is can be rebuilt
from these refs of one repository:

    refs/heads/nightlab/<study>              incumbents, a straight line; approved ones, if asked
    refs/nightlab/<study>/trials/<NNNN>      annotated tag on the candidate: the record
    refs/nightlab/<study>/evidence/<NNNN>    commit whose tree holds logs, curves, prompts
    refs/nightlab/<study>/inflight/<NNNN>    annotated tag on the candidate being worked on
    refs/nightlab/<study>/holdout/<NNNN>     annotated tag: one use of the holdout split
    refs/nightlab/<study>/confirmations/<NNNN>  annotated tag on an incumbent: its gain, again
    refs/nightlab/<study>/consolidations/<NNNN>  annotated tag: what it could do without
    refs/heads/nightlab/<study>-consolidated the incumbent without that, for people
    refs/nightlab/<study>/approvals/<NNNN>   annotated tag on a keep: a person's word
    refs/nightlab/<study>/suggestions/<TIME>-<RANDOM>  annotated tag: a person's idea
    refs/nightlab/<study>/stop               a person's request that the session stop
    refs/nightlab/<study>/session            on a remote only: who works on the study

Nothing here touches the user's checkout, index or HEAD: all writing is plumbing.
"""

from nightlab.ledger.approving import WORDS, give_word
from nightlab.ledger.bundles import Bundle, bundles_in
from nightlab.ledger.candidates import LineCounts
from nightlab.ledger.confirmations import (
    ConfirmationRecord,
    confirmations,
    write_confirmation,
)
from nightlab.ledger.consolidations import (
    ConsolidationRecord,
    LeftOut,
    Together,
    consolidations,
    offer_branch,
    offered_commits,
    write_consolidation,
)
from nightlab.ledger.export import results_tsv
from nightlab.ledger.fetching import fetch_study, recover_study
from nightlab.ledger.holdout import HoldoutUse, holdout_uses, record_holdout_use
from nightlab.ledger.lease import Waiting
from nightlab.ledger.plumbing import Plumbing
from nightlab.ledger.recovery import Recovery
from nightlab.ledger.remote import Remote, remote_studies
from nightlab.ledger.removal import delete_study, offered_by, remote_refs, standing_refs
from nightlab.ledger.removal import in_words as refs_in_words
from nightlab.ledger.sending import fetch_suggestions, send_suggestion
from nightlab.ledger.session import (
    Session,
    hold_clone,
    hold_session,
    is_worked_on,
    refuse_if_busy,
)
from nightlab.ledger.stop import (
    StopRequest,
    ask_remote_to_stop,
    ask_to_stop,
    forget_stop,
    hear_stop,
    stop_request,
)
from nightlab.ledger.store import Ledger, studies, studies_without_branch
from nightlab.ledger.suggestions import (
    add_suggestion,
    settle_suggestions,
    suggestions,
    suggestions_for,
    take_suggestions,
    waiting_suggestions,
)
from nightlab.ledger.summary import StudySummary, answer_names, study_summary

__all__ = [
    "WORDS",
    "Bundle",
    "ConfirmationRecord",
    "ConsolidationRecord",
    "HoldoutUse",
    "Ledger",
    "LeftOut",
    "LineCounts",
    "Plumbing",
    "Recovery",
    "Remote",
    "Session",
    "StopRequest",
    "StudySummary",
    "Together",
    "Waiting",
    "add_suggestion",
    "answer_names",
    "ask_remote_to_stop",
    "ask_to_stop",
    "bundles_in",
    "confirmations",
    "consolidations",
    "delete_study",
    "fetch_study",
    "fetch_suggestions",
    "forget_stop",
    "give_word",
    "hear_stop",
    "hold_clone",
    "hold_session",
    "holdout_uses",
    "is_worked_on",
    "offer_branch",
    "offered_by",
    "offered_commits",
    "record_holdout_use",
    "recover_study",
    "refs_in_words",
    "refuse_if_busy",
    "remote_refs",
    "remote_studies",
    "results_tsv",
    "send_suggestion",
    "settle_suggestions",
    "standing_refs",
    "stop_request",
    "studies",
    "studies_without_branch",
    "study_summary",
    "suggestions",
    "suggestions_for",
    "take_suggestions",
    "waiting_suggestions",
    "write_confirmation",
    "write_consolidation",
]
