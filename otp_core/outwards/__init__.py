"""What follows the audit trail outwards, whoever takes it: where it stands, how it does. It never writes the store."""
