"""What a signal is: its mode, its classes by policy, its custom labels, and the business behind its target.

| module | decides | by |
|---|---|---|
| `signal_mode` | reactive or proactive, and the base signal's name | a mapping file |
| `document` | what the policy sees | signal and context |
| `policy` | environment, priority, severity, class of the cluster; custom labels | the policy |
| `business` | business unit, owner, criticality, service level | labels and environment |

Nothing here writes status or knows of phases: each function takes what is known and returns what follows from it.
"""
