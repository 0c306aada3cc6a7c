"""The one credential store: schema, migrations, all SQL. Nobody else writes SQL, and nothing here decides."""
