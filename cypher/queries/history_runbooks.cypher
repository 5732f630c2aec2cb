// Every runbook version that was ever used, with its text.
// Parameters: none. Returns: id, version, sha, text.
MATCH (v:RunbookVersion) WHERE v.id IS NOT NULL AND v.sha IS NOT NULL
RETURN v.id AS id, v.version AS version, v.sha AS sha, coalesce(v.yaml, '') AS text
ORDER BY id, sha
