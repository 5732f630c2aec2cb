// Nodes with envelopes that other keys than the active one wrap, in the order of their ids; one page.
// Parameters: $active (id of the key), $after (id of the last node that was read, or ''), $limit.
// Returns: id, plan, before (envelopes, or NULL).
MATCH (n:RunbookExecution|StepRun)
WHERE n.sealed_with IS NOT NULL AND n.sealed_with <> $active AND n.id > $after
RETURN n.id AS id, n.plan_sealed AS plan, n.before_sealed AS before
ORDER BY n.id LIMIT $limit
