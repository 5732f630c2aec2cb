// Takes waiting decisions whose time has come, oldest first, and puts each off a little so that no other sweeper
// takes it as well.
// Those of another cluster are left to its own process, unless nobody took them for a minute.
// Parameters: $now, $hold_seconds, $limit, $cluster (empty for any), $format (the newest that is read). Returns: d (all properties, next_check_at as it was).
// Audit: nothing; a sweeper holds decisions back from others, and decides nothing.
MATCH (d:Decision)
WHERE d.next_check_at <= $now AND coalesce(d.format, 1) <= $format
  AND ($cluster IN ['', d.cluster] OR d.next_check_at <= $now - duration({minutes: 1}))
WITH d ORDER BY d.next_check_at LIMIT $limit
SET d.written_at = datetime.realtime() // the lock, as in decisions_upsert
WITH d, d.next_check_at AS due
WHERE d.kind = 'waiting' AND due <= $now
SET d.next_check_at = $now + duration({milliseconds: toInteger($hold_seconds * 1000)})
RETURN d {.*, next_check_at: due} AS d
