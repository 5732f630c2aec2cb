// Changes who did it, in one entry of the audit trail; nothing else is touched.
// Parameters: $tenant, $entry, $actor. Returns: actor.
MATCH (a:AuditEntry {tenant: $tenant}) WHERE a.segment + ':' + toString(a.seq) = $entry
SET a.actor = $actor
RETURN a.actor AS actor;
