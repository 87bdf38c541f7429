"""Routing: the file that decides which receivers, and so which channels, get a notification (BR-NOT-065).

| room | what it holds |
|---|---|
| `config` | the routing file's models, loading, validation |
| `advice` | warnings about what a file says in vain |
| `patterns` | `matchRe`'s regular expressions |
| `attributes` | what a notification offers to matchers |
| `router` | the tree walk: notification -> receivers -> channel keys |
| `table` | the table in force: swapped whole, the last good one kept |
| `check` | where the file is, and what `--check-config` says of it |
"""
