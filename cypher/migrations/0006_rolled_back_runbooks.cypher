// Versions of runbooks that a person has taken out of force, and when that was lifted.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_runbook_rollback_id IF NOT EXISTS FOR (n:RunbookRollback) REQUIRE n.id IS UNIQUE;
CREATE INDEX rootmend_runbook_rollback_of IF NOT EXISTS FOR (n:RunbookRollback) ON (n.runbook_id);
