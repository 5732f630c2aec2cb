// How many entries are left of what tombstones tell of, because a pruning was interrupted.
// Parameters: $rows [{segment, through}]. Returns: entries.
UNWIND $rows AS row
MATCH (a:AuditEntry {segment: row.segment}) WHERE a.seq <= row.through
RETURN count(a) AS entries
