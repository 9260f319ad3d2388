"""The only room that knows SQL: tables, transactions, migrations, and a module of statements for each noun."""
