// Takes entries away, the oldest first; a signed tombstone tells of them.
// Parameters: $segment, $through (number of the last one that goes), $limit. Returns: gone (how many went now).
// Audit: trail.pruned.
MATCH (a:AuditEntry {segment: $segment}) WHERE a.seq <= $through
WITH a ORDER BY a.segment, a.seq LIMIT $limit // by both: the order of the index
DETACH DELETE a
RETURN count(*) AS gone
