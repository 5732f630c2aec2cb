// Decisions about a target that took an input whose event time is after a moment.
// Parameters: $target_key, $tenant, $moment, $limit. Returns: reason, last_seen, id.
MATCH (d:Decision)
WHERE d.target_key = $target_key AND d.last_seen > $moment AND d.tenant = $tenant AND d.kind <> 'resolved'
RETURN d.reason AS reason, d.last_seen AS last_seen, d.id AS id
ORDER BY last_seen DESC LIMIT $limit
