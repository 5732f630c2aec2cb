// Makes sure that runbook versions are known, with their text.
// Parameters: $rows [{id, version, sha, text}]. Returns: nothing.
UNWIND $rows AS row
MERGE (v:RunbookVersion {id: row.id, sha: row.sha})
ON CREATE SET v.version = row.version, v.yaml = row.text, v.first_used_at = datetime.realtime()
