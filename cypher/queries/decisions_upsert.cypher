// Writes decisions. Written again, a decision changes only when the new answer is later: a waiting never replaces an
// answer, and of one attempt a permit is replaced by a permit only. Each input (origin) is counted once.
// Parameters: $rows [{id, kind, attempt, facts (properties), open_alert_key, last_seen, offsets [{partition, offset}],
//   high [{partition, offset}] (the highest of each partition), unnamed (inputs beyond those in offsets), event_ids,
//   alert_keys, keep (length of the id lists)}].
// Returns: nothing.
// Audit: decision.recorded.
UNWIND $rows AS row
MERGE (d:Decision {id: row.id})
ON CREATE SET d.attempt = -1, d.kind = 'waiting', d.repeat_count = 0, d.created_at = datetime.realtime()
SET d.written_at = datetime.realtime() // takes the node's lock, so that what follows reads the last committed values
WITH row, d,
     (d.kind = 'waiting' AND row.kind <> 'waiting') // attempts at waiting are look-ups, not executions
     OR (row.attempt >= d.attempt
       AND (d.attempt = -1 OR NOT (row.kind = 'waiting' AND d.kind <> 'waiting'))
       AND NOT (d.kind = 'permit' AND row.kind <> 'permit' AND row.attempt = d.attempt)) AS later,
     [o IN row.offsets WHERE none(s IN coalesce(d.offsets, [])
        WHERE split(s, '=')[0] = o.partition AND toInteger(split(s, '=')[1]) >= o.offset)] AS fresh,
     [h IN row.high WHERE none(s IN coalesce(d.offsets, [])
        WHERE split(s, '=')[0] = h.partition AND toInteger(split(s, '=')[1]) >= h.offset)] AS new_high
FOREACH (_ IN CASE WHEN later THEN [1] ELSE [] END |
  SET d += row.facts
  SET d.kind = row.kind, d.attempt = row.attempt,
      d.open_alert_key = CASE WHEN d.closed_at IS NULL THEN row.open_alert_key END
)
SET d.repeat_count = d.repeat_count + size(fresh) + CASE WHEN new_high = [] THEN 0 ELSE row.unnamed END,
    d.offsets = [s IN coalesce(d.offsets, []) WHERE none(h IN new_high WHERE h.partition = split(s, '=')[0])]
      + [h IN new_high | h.partition + '=' + toString(h.offset)],
    d.last_seen = CASE WHEN d.last_seen > row.last_seen THEN d.last_seen ELSE row.last_seen END,
    d.event_ids = (coalesce(d.event_ids, [])
      + [x IN row.event_ids WHERE NOT x IN coalesce(d.event_ids, [])])[..row.keep],
    d.alert_keys = (coalesce(d.alert_keys, [])
      + [x IN row.alert_keys WHERE NOT x IN coalesce(d.alert_keys, [])])[..row.keep]
