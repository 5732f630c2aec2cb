// Puts envelopes under another key in the place of the old ones; what was written meanwhile is left alone.
// Parameters: $active (id of the key), $rows [{id, plan, before (envelopes, or NULL), old_plan, old_before}].
// Returns: id (of each node that was changed).
// Audit: nothing; what is kept stays the same, and the key that is active stands in the settings.
UNWIND $rows AS row
MATCH (n:RunbookExecution|StepRun {id: row.id})
WHERE coalesce(n.plan_sealed, '') = coalesce(row.old_plan, '')
  AND coalesce(n.before_sealed, '') = coalesce(row.old_before, '')
SET n.plan_sealed = row.plan, n.before_sealed = row.before, n.sealed_with = $active
RETURN n.id AS id
