// How far a segment may be pruned: up to the entry before the first one that is to stay.
// Parameters: $segment, $through (what was pruned before; -1 for nothing), $until (as entries spell it; entries from then on
//   stay). Returns: entries, first_hash, last (number), hash; no row when nothing may be taken away.
OPTIONAL MATCH (stays:AuditEntry {segment: $segment}) WHERE stays.seq > $through AND stays.at >= $until
WITH min(stays.seq) AS stays
MATCH (a:AuditEntry {segment: $segment}) WHERE a.seq > $through AND (stays IS NULL OR a.seq < stays)
WITH count(a) AS entries, min(a.seq) AS first, max(a.seq) AS last WHERE entries > 0
MATCH (one:AuditEntry {segment: $segment, seq: first})
MATCH (other:AuditEntry {segment: $segment, seq: last})
RETURN entries, one.hash AS first_hash, last, other.hash AS hash
