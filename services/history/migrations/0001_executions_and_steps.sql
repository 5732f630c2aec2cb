-- One row for each execution and one for each of its steps; written again they only change.
CREATE TABLE runbook_executions (
    id uuid PRIMARY KEY,
    runbook_id text NOT NULL,
    runbook_version text NOT NULL,
    started_at timestamptz DEFAULT now(),
    completed_at timestamptz,
    status text,
    actor_id uuid,
    metadata jsonb
);
CREATE TABLE runbook_step_logs (
    id uuid PRIMARY KEY,
    execution_id uuid NOT NULL REFERENCES runbook_executions (id),
    step_id text NOT NULL,
    started_at timestamptz DEFAULT now(),
    completed_at timestamptz,
    status text,
    inputs jsonb,
    outputs jsonb,
    errors jsonb
);
CREATE INDEX runbook_executions_started ON runbook_executions (started_at);
CREATE INDEX runbook_executions_open ON runbook_executions (id) WHERE completed_at IS NULL;
CREATE INDEX runbook_step_logs_execution ON runbook_step_logs (execution_id)
