// Ties nodes together again, where both are there. The loader fills in FROM, TO and TIED.
// Parameters: $rows [{a (key), b (key), p (properties)}]. Returns: tied.
// Audit: nothing; one entry, graph.restored, tells of the whole restore.
UNWIND $rows AS row
MATCH (a:FROM) WHERE ATKEYS
MATCH (b:TO) WHERE BTKEYS
MERGE (a)-[r:TIED]->(b)
ON CREATE SET r = row.p
RETURN count(r) AS tied
