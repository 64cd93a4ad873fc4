"""What people see: bars while it works, tables and a summary at the end."""
