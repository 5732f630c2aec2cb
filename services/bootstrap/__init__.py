"""The composition root: the one room that knows which adapter stands behind which port. Nothing connects at import."""

from services.bootstrap.acting import open_screens
from services.bootstrap.approving import approval_routes
from services.bootstrap.auditing import make_sealer, open_sealer, trusted_keys
from services.bootstrap.deciding import make_forecaster
from services.bootstrap.parts import ALL_ROLES, Parts, Role, assemble
from services.bootstrap.pipeline import Pipeline, make_pipeline, make_receiver, make_runs_api
from services.bootstrap.slack import SlackDesk, make_slack

__all__ = [
    "ALL_ROLES",
    "Parts",
    "Pipeline",
    "Role",
    "SlackDesk",
    "approval_routes",
    "assemble",
    "make_forecaster",
    "make_pipeline",
    "make_receiver",
    "make_runs_api",
    "make_sealer",
    "make_slack",
    "open_screens",
    "open_sealer",
    "trusted_keys",
]
