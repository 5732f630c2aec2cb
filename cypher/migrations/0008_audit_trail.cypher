// The audit trail: one entry for each number of a segment, found by tenant and time, and by incident.
// Parameters: none. Returns: nothing.
CREATE CONSTRAINT rootmend_audit_entry_place IF NOT EXISTS FOR (n:AuditEntry) REQUIRE (n.segment, n.seq) IS UNIQUE;
CREATE INDEX rootmend_audit_entry_tenant IF NOT EXISTS FOR (n:AuditEntry) ON (n.tenant, n.at);
CREATE INDEX rootmend_audit_entry_incident IF NOT EXISTS FOR (n:AuditEntry) ON (n.incident_id);
CREATE INDEX rootmend_audit_entry_begins IF NOT EXISTS FOR (n:AuditEntry) ON (n.begins);
