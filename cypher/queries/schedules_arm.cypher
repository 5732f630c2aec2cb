// The last time of each schedule; one that was never seen begins now, so that nothing of the past is fired.
// Parameters: $rows [{key, now, facts (properties, for people)}]. Returns: key, last, created.
// Audit: schedule.armed.
UNWIND $rows AS row
OPTIONAL MATCH (known:RunbookSchedule {key: row.key})
WITH row, known IS NULL AS created
MERGE (s:RunbookSchedule {key: row.key})
ON CREATE SET s += row.facts, s.last_fired_at = row.now, s.created_at = datetime.realtime()
RETURN s.key AS key, s.last_fired_at AS last, created
