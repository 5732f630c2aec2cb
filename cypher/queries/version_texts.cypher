// The text of runbook versions whose hash begins so.
// Parameters: $sha (or its beginning), $id (of the runbook; empty for any). Returns: id, sha, version, text.
MATCH (v:RunbookVersion)
WHERE v.id IS NOT NULL AND v.sha STARTS WITH $sha AND ($id = '' OR v.id = $id)
RETURN v.id AS id, v.sha AS sha, coalesce(v.version, '') AS version, coalesce(v.yaml, '') AS text
ORDER BY id, sha LIMIT 20
