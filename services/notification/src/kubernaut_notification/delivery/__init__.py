"""Delivery: what to attempt and when (pure), and the channels that do it.

| room | what it holds |
|---|---|
| `plan` | what is due, and what follows from what happened; no I/O |
| `announcement` | attempts written down before they are made |
| `result` | one attempt and its wire form; counters |
| `lanes`, `breaker` | who may call a receiver now: places, lines, circuit breakers |
| `deliverer` | calls channels, turns what happens into results |
| `message` | the text that channels get: enriched, redacted |
| `channel` | the channel protocol and its two errors |
| `console`, `log`, `file` | the built-in channels |
| `slack`, `pagerduty`, `teams`, `webhook` | the HTTP channels; `http` is what they share, `payload` makes theirs fit |
| `proxies` | the proxy for an address, from the environment |
| `email` | mail by SMTP; `mime` makes the mail |
| `registry` | channel key -> channel |
| `credentials` | secrets from files |
| `redaction`, `mrkdwn`, `text` | text rules |
"""
