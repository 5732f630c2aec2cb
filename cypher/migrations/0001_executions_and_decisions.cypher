// Identity of everything that is written here, and the look-ups that must not scan.
// Only labels of our own: the constraints on Resource.rid and Episodic.eid belong to KGroot.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_decision_id IF NOT EXISTS FOR (n:Decision) REQUIRE n.id IS UNIQUE;
CREATE CONSTRAINT rootmend_execution_id IF NOT EXISTS FOR (n:RunbookExecution) REQUIRE n.id IS UNIQUE;
CREATE CONSTRAINT rootmend_step_run_id IF NOT EXISTS FOR (n:StepRun) REQUIRE n.id IS UNIQUE;
CREATE CONSTRAINT rootmend_approval_id IF NOT EXISTS FOR (n:Approval) REQUIRE n.id IS UNIQUE;
CREATE CONSTRAINT rootmend_target_claim_key IF NOT EXISTS FOR (n:TargetClaim) REQUIRE n.key IS UNIQUE;
CREATE CONSTRAINT rootmend_runbook_version_sha IF NOT EXISTS FOR (n:RunbookVersion) REQUIRE (n.id, n.sha) IS UNIQUE;
CREATE INDEX rootmend_decision_fingerprint IF NOT EXISTS FOR (n:Decision) ON (n.fingerprint, n.opened_at);
CREATE INDEX rootmend_decision_incident IF NOT EXISTS FOR (n:Decision) ON (n.incident_id);
CREATE INDEX rootmend_decision_event IF NOT EXISTS FOR (n:Decision) ON (n.event_id);
CREATE INDEX rootmend_decision_open_alert IF NOT EXISTS FOR (n:Decision) ON (n.open_alert_key);
CREATE INDEX rootmend_decision_next_check IF NOT EXISTS FOR (n:Decision) ON (n.next_check_at);
CREATE INDEX rootmend_decision_target IF NOT EXISTS FOR (n:Decision) ON (n.target_key, n.last_seen);
CREATE INDEX rootmend_decision_last_seen IF NOT EXISTS FOR (n:Decision) ON (n.last_seen);
CREATE INDEX rootmend_execution_status IF NOT EXISTS FOR (n:RunbookExecution) ON (n.status, n.requested_at);
CREATE INDEX rootmend_execution_requested IF NOT EXISTS FOR (n:RunbookExecution) ON (n.requested_at);
CREATE INDEX rootmend_approval_status IF NOT EXISTS FOR (n:Approval) ON (n.status, n.expires_at);
CREATE INDEX rootmend_approval_execution IF NOT EXISTS FOR (n:Approval) ON (n.execution_id);
