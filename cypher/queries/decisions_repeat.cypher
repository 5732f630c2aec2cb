// Counts further inputs of decisions that stand, each input (origin) once.
// Parameters: $rows [{id, last_seen, offsets [{partition, offset}], high [{partition, offset}], unnamed, event_ids,
//   alert_keys, keep}]; see decisions_upsert.
// Returns: nothing; a decision that does not exist is left out.
// Audit: nothing; it counts inputs of a decision that is told, which changes nothing of it.
UNWIND $rows AS row
MATCH (d:Decision {id: row.id})
SET d.written_at = datetime.realtime() // the lock, as in decisions_upsert
WITH row, d,
     [o IN row.offsets WHERE none(s IN coalesce(d.offsets, [])
        WHERE split(s, '=')[0] = o.partition AND toInteger(split(s, '=')[1]) >= o.offset)] AS fresh,
     [h IN row.high WHERE none(s IN coalesce(d.offsets, [])
        WHERE split(s, '=')[0] = h.partition AND toInteger(split(s, '=')[1]) >= h.offset)] AS new_high
SET d.repeat_count = d.repeat_count + size(fresh) + CASE WHEN new_high = [] THEN 0 ELSE row.unnamed END,
    d.offsets = [s IN coalesce(d.offsets, []) WHERE none(h IN new_high WHERE h.partition = split(s, '=')[0])]
      + [h IN new_high | h.partition + '=' + toString(h.offset)],
    d.last_seen = CASE WHEN d.last_seen > row.last_seen THEN d.last_seen ELSE row.last_seen END,
    d.event_ids = (coalesce(d.event_ids, [])
      + [x IN row.event_ids WHERE NOT x IN coalesce(d.event_ids, [])])[..row.keep],
    d.alert_keys = (coalesce(d.alert_keys, [])
      + [x IN row.alert_keys WHERE NOT x IN coalesce(d.alert_keys, [])])[..row.keep]
