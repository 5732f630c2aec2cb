"""What the settings say about reviews."""

from __future__ import annotations

from services.config_files import ConfigError
from services.settings import Settings
from services.signing.errors import SigningError
from services.signing.reviewed import Requirement, Reviewed


def open_reviewed(settings: Settings) -> Reviewed:
    """Who tells reviewed runbooks from others, with what there is to be read now.

    Raises:
        ConfigError: the approved revision cannot be read.
    """
    chosen = settings.runbooks
    requirement = Requirement(chosen.require_signature)
    reviewed = Reviewed(chosen.folders, chosen.trusted_keys, requirement, chosen.approved_revision)
    try:
        reviewed.refresh()
    except SigningError as error:
        raise ConfigError((str(error),)) from error
    return reviewed
