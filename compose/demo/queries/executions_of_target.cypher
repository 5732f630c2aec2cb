// How many executions a target has had.
// Parameters: $tenant, $target_key. Returns: executions.
MATCH (e:RunbookExecution {target_key: $target_key})
WHERE e.tenant = $tenant
RETURN count(e) AS executions
