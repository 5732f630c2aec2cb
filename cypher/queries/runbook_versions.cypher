// Makes sure that runbook versions are known, with their text; one that was kept without it gets it.
// Parameters: $rows [{id, version, sha, text}]. Returns: nothing.
// Audit: runbook.used.
UNWIND $rows AS row
MERGE (v:RunbookVersion {id: row.id, sha: row.sha})
ON CREATE SET v.version = row.version, v.yaml = row.text, v.first_used_at = datetime.realtime()
FOREACH (_ IN CASE WHEN coalesce(v.yaml, '') = '' AND row.text <> '' THEN [1] ELSE [] END | SET v.yaml = row.text)
