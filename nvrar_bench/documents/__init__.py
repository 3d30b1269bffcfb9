"""What nvrar-bench writes and reads: run record, comparison, tuning table, inventory.

A document is a frozen `msgspec.Struct` whose fields are the keys of its JSON, in their order. Its
JSON Schema and the check of a file that is read are derived from the type.
"""
