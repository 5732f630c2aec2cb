"""Every setting of the service: grouped, typed, documented field by field.

One YAML file, variables that begin with ``ROOTMEND_`` (``__`` between the levels) and the command line fill these
models; ``services.settings.load_settings`` is the only place that reads them. The models refuse what they do not
know: a misspelt limit must stop the start, not be ignored.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from matcher.calibration import Table
from matcher.errors import BadTable
from runbooks.model import Duration
from runbooks.zones import known_zone
from services.settings_access import AccessSettings
from services.settings_approvals import Approvals
from services.settings_audit import Audit
from services.settings_autonomy import AutonomySettings, PoliciesSettings
from services.settings_base import FilePath, Group, Texts
from services.settings_breaker import Breaker
from services.settings_catalogs import Catalogs
from services.settings_exec import ExecActions
from services.settings_freezes import FreezeSettings
from services.settings_history import History
from services.settings_limits import AskAgain, CooldownAfter, CountLimits
from services.settings_outgoing import Outgoing
from services.settings_people import (
    JiraSettings,
    MailSettings,
    PagerDutySettings,
    ScreenshotSettings,
    ServiceNowSettings,
    TeamsSettings,
)
from services.settings_retention import Retention
from services.settings_rights import Impersonation, Reviews, account_pattern
from services.settings_secrets import SecretSources
from services.settings_slack import Slack

PREFIX = "ROOTMEND_"
DELIMITER = "__"
PACKAGED = "packaged"
"""Stands for the catalog that comes with the product, in ``runbooks.paths``."""


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("must be longer than zero")
    return value


class Topics(Group):
    """Names of the Kafka topics."""

    alerts: str = Field("alerts", min_length=1, description="Alertmanager webhook bodies and raw alerts, read")
    events: str = Field("events.normalized", min_length=1, description="KGroot's events, read")
    enriched: str = Field("alerts.enriched", min_length=1, description="KGroot's enriched alerts, read")
    rca: str = Field("rca.results", min_length=1, description="Results of root cause analysis, read")
    run_requests: str = Field(
        "remediation.run-requests", min_length=1, description="Runbooks that are asked for by name, written and read"
    )
    decisions: str = Field("remediation.decisions", min_length=1, description="One for every incident, written")
    requests: str = Field("remediation.requests", min_length=1, description="Permitted plans, internal")
    executions: str = Field("remediation.executions", min_length=1, description="Life of each execution, written")
    approvals: str = Field("remediation.approvals", min_length=1, description="Requests and answers, written and read")
    dlq: str = Field("remediation.dlq", min_length=1, description="What could not be read, with the error, written")

    @property
    def inputs(self) -> tuple[str, ...]:
        """The topics that ``decide`` reads, each once."""
        return tuple(dict.fromkeys((self.alerts, self.events, self.enriched, self.rca, self.run_requests)))

    @property
    def names(self) -> tuple[str, ...]:
        """All topics, each once."""
        own = (self.decisions, self.requests, self.executions, self.approvals, self.dlq)
        return tuple(dict.fromkeys((*self.inputs, *own)))

    @model_validator(mode="after")
    def _orders_come_alone(self) -> Self:
        if self.run_requests in (self.alerts, self.events, self.enriched, self.rca):
            raise ValueError(
                f"a topic has two meanings: {self.run_requests} (who may write alerts may not give orders)"
            )
        return self

    @model_validator(mode="after")
    def _outputs_are_not_inputs(self) -> Self:
        own = (self.decisions, self.requests, self.executions, self.approvals, self.dlq)
        both = sorted((set(self.inputs) & set(own)) | {name for name in own if own.count(name) > 1})
        if both:
            raise ValueError(f"a topic has two meanings: {', '.join(both)}")
        return self


class Kafka(Group):
    """Transport of signals, decisions and requests."""

    bootstrap_servers: str = Field("127.0.0.1:9092", min_length=1, description="Brokers as host:port, with commas")
    client: dict[str, Any] = Field(
        {}, description="librdkafka settings for TLS and SASL, such as security.protocol, passed on as they are"
    )
    group_id: str = Field("rootmend", min_length=1, description="Prefix of the consumer groups")
    topics: Topics = Field(Topics(), description="Names of the topics")
    create_topics: bool = Field(True, description="Create topics that are missing; off where others own them")
    partitions: int = Field(6, ge=1, description="Partitions of a topic that is created")
    batch_max_records: int = Field(500, ge=1, le=10_000, description="Most messages of one batch")
    batch_wait_ms: int = Field(10, ge=1, le=5_000, description="How long a batch is collected, milliseconds")
    max_message_bytes: int = Field(1_000_000, ge=1_000, description="A larger message goes to the DLQ, bytes")
    offset_reset: Literal["earliest", "latest"] = Field("earliest", description="Where a new consumer group begins")


class Neo4j(Group):
    """The causal graph, and the durable truth."""

    uri: str = Field(
        "bolt://127.0.0.1:7687",
        pattern=r"^(bolt|neo4j)(\+s|\+ssc)?://.+",
        description="bolt://, neo4j:// (routing), with +s or +ssc for TLS",
    )
    user: str = Field("neo4j", description="Empty when the server asks for none")
    password: SecretStr = Field(SecretStr(""), description="Better set by variable than in the file")
    database: str = Field("neo4j", min_length=1, description="Name of the database")
    ca_file: FilePath | None = Field(None, description="Own CAs: encrypts a plain bolt:// or neo4j:// with them")
    browser_url: str = Field("", description="Address of Neo4j Browser, for links in messages")


class Redis(Group):
    """Coordination: rates, locks, cooldowns, pause switch."""

    url: SecretStr = Field(
        SecretStr("redis://127.0.0.1:6379/0"), description="redis://, rediss:// (TLS) or unix://; may hold a password"
    )
    prefix: str = Field("rootmend:", min_length=1, description="Begins every key")

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        return value


class Kubernetes(Group):
    """The cluster that runbooks act on."""

    kubeconfig: FilePath | None = Field(None, description="Empty: KUBECONFIG, then ~/.kube/config, then in-cluster")
    context: str = Field("", description="Context to act on; needed unless the cluster is the practice cluster")
    practice_id: str = Field("", description="Identity of the local practice cluster, written by rb up")
    cluster_name: str = Field("default", min_length=1, description="Name of this cluster in signals and records")
    request_timeout_seconds: float = Field(10, gt=0, le=300, description="Longest wait for one answer")
    impersonate: tuple[Impersonation, ...] = Field(
        (), description="Accounts that the steps of some runbooks act as; the first rule that fits counts"
    )
    runbook_accounts: Texts = Field(
        (), description="Service accounts that runbooks may name for themselves: NAMESPACE/NAME, globs allowed in each"
    )
    check_rights: bool = Field(True, description="Ask for the rights of every write before the first step")

    @field_validator("runbook_accounts")
    @classmethod
    def _are_accounts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(account_pattern(text) for text in value)


class Runbooks(Reviews):
    """Where runbooks come from, and which of them run."""

    paths: Texts = Field(
        (PACKAGED,), min_length=1, description=f"Files and folders; '{PACKAGED}' is the catalog of the product"
    )
    watch: bool = Field(True, description="Take changed files into force while running")
    parameters: dict[str, dict[str, Any]] = Field({}, description="Values of parameters, by runbook id")
    mappings: Texts = Field((), description="Files that map alerts to runbooks, with parameters and autoTrigger")

    @property
    def folders(self) -> tuple[Path, ...]:
        """The paths, with the packaged catalog in the place of its name."""
        catalog = Path(__file__).parents[1] / "runbooks" / "catalog"
        return tuple(catalog if path == PACKAGED else Path(path).expanduser() for path in self.paths)

    @property
    def mapping_files(self) -> tuple[Path, ...]:
        """The files of mappings."""
        return tuple(Path(path).expanduser() for path in self.mappings)


class Bridge(Group):
    """Waiting for causes that reach the graph after the alert."""

    first_delay: Duration = Field(timedelta(seconds=1), description="Pause before the second look")
    factor: float = Field(2, ge=1, le=10, description="Each pause is longer by it")
    max_delay: Duration = Field(timedelta(seconds=30), description="Longest pause")
    deadline: Duration = Field(timedelta(minutes=2), description="After it, 'no cause found' is recorded")

    _longer_than_zero = field_validator("first_delay", "max_delay")(_positive)


Knots = tuple[tuple[float, float], ...]


class Matching(Group):
    """From signal to runbook."""

    default_tenant: str = Field("default", min_length=1, description="Tenant of signals that name none")
    default_cluster: str = Field("", description="Cluster of signals that name none; empty: kubernetes.cluster_name")
    window: Duration = Field(timedelta(minutes=10), description="A longer silence opens a new incident")
    max_age: Duration = Field(timedelta(hours=6), description="An older incident takes no further signals")
    max_signal_age: Duration = Field(
        timedelta(minutes=15), description="An older message is history, not a reason to act"
    )
    retry_refused: Duration = Field(
        timedelta(minutes=1), description="After it, a repeat of a refused incident is decided again"
    )
    lookups: int = Field(32, ge=1, le=1_000, description="Most signals that are looked up at a time")
    calibration: dict[str, Knots] = Field(
        {}, description="By writer: pairs of raw score and confidence, from 0 to 1; replaces the built-in table"
    )
    alert_confidence: float = Field(
        0.9, ge=0, le=1, description="Trust in an alert that a runbook or mapping names, as its own cause; at most this"
    )
    self_evident_reasons: Texts = Field((), description="Reasons that are their own cause when nothing else is known")
    bridge: Bridge = Field(Bridge(), description="Waiting for late causes")

    _longer_than_zero = field_validator("window", "max_age", "max_signal_age")(_positive)

    @field_validator("calibration")
    @classmethod
    def _usable_tables(cls, value: dict[str, Knots]) -> dict[str, Knots]:
        for writer, knots in value.items():
            try:
                Table(knots, source="settings")
            except BadTable as error:
                raise ValueError(f"{writer}: {error}") from error
        return value


class Gate(Group):
    """Limits on top of those of each runbook; the stricter counts."""

    protected_namespaces: Texts = Field(
        ("kube-system", "kube-public", "kube-node-lease", "rootmend-system"), description="Never written to; globs"
    )
    max_blast_radius: int = Field(50, ge=0, description="Most resources that one execution may affect")
    max_executions_per_hour: int = Field(60, ge=0, description="Of all runbooks, per tenant and cluster")
    max_blast_percent_workload: float | None = Field(
        None, gt=0, le=100, description="Most of one workload's pods that are down at the same time, in percent"
    )
    max_blast_percent_namespace: float | None = Field(
        None, gt=0, le=100, description="Most of the pods of the namespaces that one execution may affect, in percent"
    )
    max_blast_percent_cluster: float | None = Field(
        30, gt=0, le=100, description="Most of the pods of the cluster that one execution may affect, in percent"
    )
    blast_percent_from: int = Field(
        10, ge=0, description="So few resources are never too large a share of a namespace or cluster"
    )
    max_graph_age: Duration | None = Field(
        timedelta(minutes=15), description="What the graph says of the objects must not be older than this"
    )
    gitops: Literal["refuse", "suggest", "allow"] = Field(
        "refuse", description="What becomes of a change that Argo CD or Flux would put back; suggest tells the patch"
    )
    argocd_labels: Texts = Field(
        (), description="Further labels that name an Argo CD application, such as app.kubernetes.io/instance"
    )
    freezes: tuple[FreezeSettings, ...] = Field(
        (), description="Periods without changes: name, from, to, timezone, yearly, windows, reason"
    )
    freeze_calendars: Texts = Field((), description="Files (.ics) and addresses of calendars whose events are freezes")
    freeze_timezone: str = Field("UTC", description="Of events that name none, and of whole days")
    freeze_refresh: Duration = Field(timedelta(minutes=5), description="How often freeze calendars are read")
    freeze_max_age: Duration = Field(
        timedelta(hours=24), description="A calendar that could not be read for longer counts as a freeze"
    )
    min_confidence_floor: float = Field(0.5, ge=0, le=1, description="No runbook runs below it, whatever it asks")
    limits: CountLimits = Field(CountLimits(), description="Most executions by what they are counted by")
    ask_again: AskAgain = Field(AskAgain(), description="A human decides when a target needs help again and again")
    cooldown: Duration = Field(timedelta(0), description="Least quiet time of a target after an execution")
    cooldown_after: CooldownAfter = Field(CooldownAfter(), description="Quiet time by how an execution ended")
    unknown_target: Literal["refuse", "approval"] = Field(
        "refuse", description="When the blast radius cannot be counted because the graph does not know the target"
    )
    permit_ttl: Duration = Field(timedelta(minutes=2), description="How long a permit may wait to be redeemed")
    provisional_ttl: Duration = Field(timedelta(minutes=1), description="After it an unconfirmed reservation lapses")
    lock_lease: Duration = Field(
        timedelta(minutes=5),
        description="How long a target stays locked without renewal; above execution.lease_seconds",
    )
    call_timeout_seconds: float = Field(0.5, gt=0, le=10, description="A slower Redis counts as away: approval only")

    _longer_than_zero = field_validator("permit_ttl", "provisional_ttl", "lock_lease")(_positive)
    _ages = field_validator("freeze_refresh", "freeze_max_age")(_positive)
    _zone = field_validator("freeze_timezone")(known_zone)

    @field_validator("max_graph_age")
    @classmethod
    def _some_age(cls, value: timedelta | None) -> timedelta | None:
        return value if value is None else _positive(value)

    @model_validator(mode="after")
    def _reservations_end_first(self) -> Self:
        if self.provisional_ttl > self.permit_ttl:
            raise ValueError("provisional_ttl must not be longer than permit_ttl")
        return self


class Execution(Group):
    """Running plans."""

    max_concurrent: int = Field(500, ge=1, le=100_000, description="Most executions of this process at a time")
    lease_seconds: float = Field(15, ge=1, description="Without a heartbeat for so long, another process takes over")
    heartbeat_seconds: float = Field(4, gt=0, description="Pause between heartbeats; at most a third of the lease")
    sweep_seconds: float = Field(2, gt=0, description="Pause between looks for what is due or orphaned")
    sweep_deadline_seconds: float = Field(300, ge=1, description="A look that takes longer is given up and begun anew")
    max_depth: int = Field(3, ge=0, le=20, description="How many calls deep runbooks may call each other; 0 for not")

    @model_validator(mode="after")
    def _heartbeats_fit(self) -> Self:
        if self.heartbeat_seconds * 3 > self.lease_seconds:
            raise ValueError("heartbeat_seconds must be at most a third of lease_seconds: two may get lost")
        return self


class Api(Group):
    """The HTTP side: health, metrics, Alertmanager receiver, REST API."""

    enabled: bool = Field(True, description="Listen at all")
    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for all")
    port: int = Field(8088, ge=0, le=65535, description="0 takes a free one")
    receiver_token: SecretStr | None = Field(
        None, description="Bearer token of Alertmanager; without one the receiver is off"
    )
    token: SecretStr | None = Field(
        None, description="Bearer token of those who may ask for runbooks; without one the REST API is off"
    )
    max_body_bytes: int = Field(900_000, ge=1_000, description="A larger webhook body is refused; below Kafka's limit")
    produce_timeout_seconds: float = Field(8, gt=0, le=120, description="Longest wait for Kafka before answering 503")

    @field_validator("receiver_token", "token")
    @classmethod
    def _no_empty_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value():
            raise ValueError("an empty token would let everybody in: leave it out to switch this off")
        return value

    @model_validator(mode="after")
    def _each_its_own_token(self) -> Self:
        if self.token is not None and self.token == self.receiver_token:
            raise ValueError("token and receiver_token must differ: who may send alerts may not give orders")
        return self


class Logging(Group):
    """What is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity")
    format: Literal["auto", "json", "human"] = Field("auto", description="auto: human on a terminal, else JSON")


class Http(Group):
    """Outgoing HTTP of runbooks."""

    base_url: str = Field(
        "", pattern=r"^(https?://.+)?$", description="Where addresses that are only a path, such as /graphql, belong to"
    )


class Prometheus(Group):
    """Metrics for runbooks: asked with PromQL, and published."""

    url: str = Field("", pattern=r"^(https?://.+)?$", description="Server that speaks Prometheus's HTTP API")
    token: SecretStr | None = Field(None, description="Bearer token for it and for the Pushgateway")
    queries: dict[str, str] = Field(
        {}, description="PromQL by name, for `metrics.NAME`; templates know namespace, name, kind, pod, container, node"
    )
    pushgateway_url: str = Field(
        "", pattern=r"^(https?://.+)?$", description="Where metrics_publish sends; empty: only the own page of metrics"
    )


class SqlConnection(Group):
    """One database."""

    url_secret: str = Field(min_length=1, description="Secret that holds the URL: postgresql://... or sqlite:///...")
    write: bool = Field(False, description="Whether runbooks may write at all, with an approval each time")


class Sql(Group):
    """Databases that runbooks can ask."""

    connections: dict[str, SqlConnection] = Field(
        {}, description="By name: url_secret (the secret with the URL) and write (false unless runbooks may write)"
    )


class ShellActions(Group):
    """Programs that runbooks may run on this machine."""

    enabled: bool = Field(False, description="Allow `command` and `script` at all")
    allow: Texts = Field((), description="Programs, as absolute paths; an interpreter allows whatever it can do")
    max_seconds: float = Field(120, gt=0, le=3600, description="Longest run of a program")
    memory_mb: int = Field(512, ge=16, description="Address space of each of its processes, MiB")
    cpu_seconds: int = Field(60, ge=1, description="Processor time of each of its processes")
    file_mb: int = Field(64, ge=0, description="Largest file that it may write, MiB")
    output_kb: int = Field(256, ge=1, le=4096, description="Most output that is kept of each stream, KiB")
    max_concurrent: int = Field(4, ge=1, le=64, description="Programs at a time")

    @field_validator("allow")
    @classmethod
    def _absolute(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for program in value:
            if not Path(program).is_absolute():
                raise ValueError(f"{program} must be an absolute path, such as /usr/bin/{Path(program).name}")
        return value


class Actions(Group):
    """What only some installations want their runbooks to do."""

    shell: ShellActions = Field(ShellActions(), description="Programs on this machine")
    exec: ExecActions = Field(ExecActions(), description="Programs in the cluster's containers")


class Settings(BaseSettings):
    """All settings. Built from the arguments alone; ``load_settings`` gathers them from their sources."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter=DELIMITER, allow_inf_nan=False
    )

    kafka: Kafka = Field(Kafka(), description="Transport of signals, decisions and requests")
    neo4j: Neo4j = Field(Neo4j(), description="The causal graph, and the durable truth")
    redis: Redis = Field(Redis(), description="Coordination: rates, locks, cooldowns, pause switch")
    kubernetes: Kubernetes = Field(Kubernetes(), description="The cluster that runbooks act on")
    runbooks: Runbooks = Field(Runbooks(), description="Where runbooks come from")
    matching: Matching = Field(Matching(), description="From signal to runbook")
    gate: Gate = Field(Gate(), description="Limits on top of those of each runbook; the stricter counts")
    breaker: Breaker = Field(Breaker(), description="The storm breaker: when causes or failures pile up")
    policies: PoliciesSettings = Field(PoliciesSettings(), description="Limits by tenant, namespace, label and more")
    autonomy: AutonomySettings = Field(AutonomySettings(), description="What a runbook may do by itself")
    execution: Execution = Field(Execution(), description="Running plans")
    approvals: Approvals = Field(Approvals(), description="Asking people")
    slack: Slack = Field(Slack(), description="Messages and questions to people in Slack")
    teams: TeamsSettings = Field(TeamsSettings(), description="Cards in Microsoft Teams")
    pagerduty: PagerDutySettings = Field(PagerDutySettings(), description="Pages for the people on call")
    mail: MailSettings = Field(MailSettings(), description="Mail to people")
    jira: JiraSettings = Field(JiraSettings(), description="Tickets in Jira")
    servicenow: ServiceNowSettings = Field(ServiceNowSettings(), description="Tickets in ServiceNow")
    screenshots: ScreenshotSettings = Field(ScreenshotSettings(), description="Pictures of pages, and their baselines")
    api: Api = Field(Api(), description="The HTTP side: health, metrics, receiver, REST API")
    access: AccessSettings = Field(AccessSettings(), description="Who may do what")
    logging: Logging = Field(Logging(), description="What is logged, and how")
    secrets: SecretSources = Field(SecretSources(), description="Where secrets of runbooks come from")
    http: Http = Field(Http(), description="Outgoing HTTP of runbooks")
    outgoing: Outgoing = Field(Outgoing(), description="Which addresses may be called")
    prometheus: Prometheus = Field(Prometheus(), description="Metrics for runbooks: asked with PromQL, and published")
    sql: Sql = Field(Sql(), description="Databases that runbooks can ask")
    audit: Audit = Field(Audit(), description="The audit trail: where its anchors go")
    history: History = Field(History(), description="A copy of the execution log in PostgreSQL")
    retention: Retention = Field(Retention(), description="How long things are kept in the graph")
    catalogs: Catalogs = Field(Catalogs(), description="Runbooks of others: whom to trust")
    actions: Actions = Field(Actions(), description="What only some installations want their runbooks to do")

    @property
    def default_cluster(self) -> str:
        """The cluster of signals that name none."""
        return self.matching.default_cluster or self.kubernetes.cluster_name

    @model_validator(mode="after")
    def _limits_fit_each_other(self) -> Self:
        if self.api.max_body_bytes > self.kafka.max_message_bytes:
            raise ValueError("api.max_body_bytes must not exceed kafka.max_message_bytes")
        if self.gate.lock_lease.total_seconds() <= self.execution.lease_seconds:
            raise ValueError("gate.lock_lease must be longer than execution.lease_seconds")
        if self.slack.mode == "http" and not self.api.enabled:
            raise ValueError("slack.mode http needs api.enabled: Slack calls the HTTP side")
        return self

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic-settings describes it
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Constructing settings must mean the same everywhere; the sources are read once, by load_settings.
        return (init_settings,)
