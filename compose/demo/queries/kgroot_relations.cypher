// Relations of the topology: CONTROLS, SELECTS, RUNS_ON.
// Parameters: $rows [{source, type, target}] (source and target are rids). Returns: nothing.
UNWIND $rows AS row
MATCH (a:Resource {rid: row.source})
MATCH (b:Resource {rid: row.target})
FOREACH (_ IN CASE row.type WHEN 'CONTROLS' THEN [1] ELSE [] END | MERGE (a)-[:CONTROLS]->(b))
FOREACH (_ IN CASE row.type WHEN 'SELECTS' THEN [1] ELSE [] END | MERGE (a)-[:SELECTS]->(b))
FOREACH (_ IN CASE row.type WHEN 'RUNS_ON' THEN [1] ELSE [] END | MERGE (a)-[:RUNS_ON]->(b))
