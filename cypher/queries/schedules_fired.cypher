// Records that times of schedules are done; an earlier time than the recorded one changes nothing.
// Parameters: $rows [{key, at}]. Returns: key, tenant, runbook_id.
// Audit: schedule.fired.
UNWIND $rows AS row
MATCH (s:RunbookSchedule {key: row.key})
SET s.written_at = datetime.realtime() // takes the node's lock, so that what follows reads the last committed value
WITH s, row
SET s.last_fired_at = CASE WHEN s.last_fired_at > row.at THEN s.last_fired_at ELSE row.at END
RETURN s.key AS key, s.tenant AS tenant, s.runbook_id AS runbook_id
