// The clock of the server.
// Parameters: none. Returns: now_ms.
RETURN datetime.realtime().epochMillis AS now_ms
