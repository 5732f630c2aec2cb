// The next segments after one, by the index alone: also those whose first entry is gone.
// Parameters: $after (a name of a segment; empty for the first). Returns: segment, tenant (as its first entry says); no row
//   after the last.
MATCH (a:AuditEntry) WHERE a.segment > $after AND a.seq IS NOT NULL
RETURN a.segment AS segment, a.tenant AS tenant ORDER BY a.segment LIMIT 1
