"""What can go wrong while remediating.

RemediationError
├── Permanent            retrying does not help
│   ├── NotFound
│   ├── Invalid          the API server refused the object
│   │   ├── NotAdmitted  a policy, webhook or quota refused it
│   │   └── Owned        another manager owns fields that a manifest wants to change
│   ├── Forbidden
│   ├── Drifted          the target changed since the plan was made
│   ├── PlanError        the plan cannot be made (missing value, unsuitable target)
│   ├── Unmet            a precondition does not hold
│   ├── NotPermitted     the permit is not for this plan
│   ├── NotConfigured
│   ├── MissingSecret
│   ├── NotDone          a write that certainly did not happen
│   ├── Unreadable       a stored record makes no sense to this release
│   │   └── TooNew       a newer release wrote it
│   └── StepFailed
├── Temporary            worth retrying
│   ├── Conflict
│   ├── Blocked
│   └── Unavailable
│       └── Expired      what was being read is no longer kept by the server
└── Stop                 not a failure of the step: the execution must not go on
    ├── Paused
    ├── LeaseLost
    ├── Fenced
    └── HandedOver       the process ends; another one goes on
"""

from __future__ import annotations


class RemediationError(Exception):
    """Something went wrong while remediating."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()


class Permanent(RemediationError):
    """It failed, and trying again would not help."""


class NotFound(Permanent):
    """The object does not exist."""


class Invalid(Permanent):
    """The API server refused the object."""


class NotAdmitted(Invalid):
    """An admission policy, webhook or quota refused the object."""


class Owned(Invalid):
    """Another manager owns fields that the manifest wants to change."""


class Forbidden(Permanent):
    """The service account lacks the right."""


class Drifted(Permanent):
    """The target changed since the plan was made."""


class PlanError(Permanent):
    """The plan cannot be made."""


class Unmet(Permanent):
    """A precondition does not hold.

    Attributes:
        skip: the runbook has nothing to do here, which is no failure.
    """

    def __init__(self, message: str = "", *, skip: bool = False) -> None:
        super().__init__(message)
        self.skip = skip


class NotPermitted(Permanent):
    """The permit is not for this execution and plan."""


class NotConfigured(Permanent):
    """This needs a setting that is not set."""


class MissingSecret(Permanent):
    """No provider knows this secret."""


class StepFailed(Permanent):
    """The step did not reach what it promised."""

    def __init__(self, message: str = "", *, output: object = None) -> None:
        """What it found all the same is kept as the output of the failed step."""
        super().__init__(message)
        self.output = output


class NotDone(Permanent):
    """The write certainly did not happen."""


class Unreadable(Permanent):
    """The stored record cannot be read."""


class TooNew(Unreadable):
    """The record was written by a newer release, which has to look after it."""


class Temporary(RemediationError):
    """It failed, and may work when tried again."""


class Conflict(Temporary):
    """Somebody else changed the object at the same time."""


class Blocked(Temporary):
    """A disruption budget forbids the eviction for now."""


class Unavailable(Temporary):
    """The server did not answer, or asked to come back later.

    Attributes:
        after_seconds: before that it wants no further request; 0 when it did not say.
    """

    after_seconds = 0.0


class Expired(Unavailable):
    """What was being read is no longer kept by the server; it has to be read from its beginning."""


class Stop(RemediationError):
    """The execution must not go on in this process."""


class Paused(Stop):
    """Automation is paused."""


class LeaseLost(Stop):
    """The lease on the target ran out."""


class Fenced(Stop):
    """A newer holder has taken over."""


class HandedOver(Stop):
    """The process is ending; another one takes the execution over."""
