// The entry that somebody would like to change: who said yes, or else what was decided.
// Parameters: $tenant. Returns: entry, kind, actor, subject.
MATCH (a:AuditEntry {tenant: $tenant}) WHERE a.kind IN ['approval.answered', 'decision.recorded']
RETURN a.segment + ':' + toString(a.seq) AS entry, a.kind AS kind, a.actor AS actor, a.subject AS subject
ORDER BY a.kind, a.at LIMIT 1;
