"""Everything that only SQLite knows: opening the file, write-ahead log, write lock, the login batch's statements."""
